# The image of the operator, and of the command line.
#
#   docker build -t flowweaver-operator:dev .
#   docker run --rm flowweaver-operator:dev --version
#
# It needs nothing of BuildKit. BASE_IMAGE is any image with Python 3.11 or newer as python3, its venv and pip.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv /opt/flowweaver
WORKDIR /src
COPY requirements/operator.lock requirements/
RUN /opt/flowweaver/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/operator.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
# What only builds stays behind: an installation that can install more is of use to nobody but an intruder.
RUN /opt/flowweaver/bin/python -m pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && /opt/flowweaver/bin/python -m pip check \
    && /opt/flowweaver/bin/python -m pip uninstall --yes --quiet hatchling pathspec pluggy tomlkit trove-classifiers setuptools pip \
    && /opt/flowweaver/bin/flowweaver --version

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="flowweaver-operator" \
      org.opencontainers.image.description="Durable workflows inside one pod: a Kubernetes operator and an embedded engine on SQLite" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/flowweaver /opt/flowweaver
# A name for the user: libraries ask for it, and USER answers also where a cluster chooses another number.
RUN echo 'flowweaver:x:65532:65532:FlowWeaver:/tmp:/usr/sbin/nologin' >>/etc/passwd \
    && echo 'flowweaver:x:65532:' >>/etc/group \
    && install -d -o 65532 -g 65532 -m 0750 /var/lib/flowweaver
ENV PATH=/opt/flowweaver/bin:$PATH \
    HOME=/tmp \
    USER=flowweaver \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["flowweaver"]
CMD ["operator"]
