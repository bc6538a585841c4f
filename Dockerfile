# The image of the operator, and of the command line: docs/functions.md has how to add functions of one's own to it.
#
#   make image                                       with the labels that a release has
#   docker build -t flowweaver-operator:dev .
#   docker run --rm flowweaver-operator:dev --version
#
# It needs nothing of BuildKit. BASE_IMAGE is any image with Python 3.11 or newer as python3, its venv and pip.
# The same sources, base and SOURCE_DATE_EPOCH (seconds since 1970) give the same files, to the bit and the second.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/flowweaver
WORKDIR /src
COPY requirements/operator.lock requirements/
# pip imports what it has installed, and would leave bytecode that names the second when it did.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN /build/bin/python -m pip wheel --quiet --require-hashes --requirement requirements/operator.lock --wheel-dir /wheels
COPY pyproject.toml README.md LICENSE ./
COPY src src
ARG SOURCE_DATE_EPOCH=1580601600
# What builds stays in /build: into the image comes what the operator needs of the lock, and nothing that can install.
RUN /build/bin/python -m pip install --quiet --no-index --find-links /wheels hatchling \
    && /build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/python -m pip --python /opt/flowweaver/bin/python install --quiet --no-index --no-compile \
       --find-links /wheels 'flowweaver-operator[operator,tracing]' \
    && /build/bin/python -m pip --python /opt/flowweaver/bin/python check \
    && /build/bin/python -m pip --python /opt/flowweaver/bin/python list --format=freeze >/opt/flowweaver/constraints.txt
# Where one's own modules go: after everything that is installed, so that they can replace none of it.
# The Kubernetes client has 60 MB of models and of a second, asynchronous client, of which the operator loads nothing.
# Bytecode that names its source by content and not by time; the root file system is read-only, so it comes along.
RUN cd /opt/flowweaver/lib/python3*/site-packages \
    && echo /functions >functions.pth \
    && find . -path './*.dist-info/*' \( -name direct_url.json -o -name REQUESTED \) -delete \
    && rm -rf kubernetes/aio \
    && PYTHONHASHSEED=0 /opt/flowweaver/bin/python -m compileall -q -f -j 1 --invalidation-mode unchecked-hash \
       -x 'kubernetes/client/(models|api)/' . \
    && /opt/flowweaver/bin/flowweaver --version \
    && find /opt/flowweaver -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

# The base without what could install more or become somebody else: of use to nobody but an intruder.
FROM ${BASE_IMAGE} AS base
ARG SOURCE_DATE_EPOCH=1580601600
COPY hack/slim-base /
RUN sh /slim-base "$SOURCE_DATE_EPOCH"
COPY --from=build /opt/flowweaver /opt/flowweaver
# A name for the user: libraries ask for it, and USER answers also where a cluster chooses another number.
RUN echo 'flowweaver:x:65532:65532:FlowWeaver:/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'flowweaver:x:65532:' >>/etc/group \
    && install -d -o 65532 -g 65532 -m 0750 /var/lib/flowweaver \
    && install -d -m 0755 /functions \
    && touch -d "@$SOURCE_DATE_EPOCH" / /etc /etc/passwd /etc/group /functions /opt /var/lib /var/lib/flowweaver

FROM base AS described
ARG SOURCE_DATE_EPOCH=1580601600
COPY hack/sbom /sbom
RUN /opt/flowweaver/bin/python /sbom >/sbom.cdx.json && touch -d "@$SOURCE_DATE_EPOCH" /sbom.cdx.json

FROM base
COPY --from=described /sbom.cdx.json /opt/flowweaver/sbom.cdx.json
ENV PATH=/opt/flowweaver/bin:$PATH \
    HOME=/tmp \
    USER=flowweaver \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["flowweaver"]
CMD ["operator"]
# Last, because they are new in every build.
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="flowweaver-operator" \
      org.opencontainers.image.description="Durable workflows inside one pod: a Kubernetes operator and an embedded engine on SQLite" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
