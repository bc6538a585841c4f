"""`flowweaver doctor`: what a maintainer would ask for, gathered by one command, with credentials left out."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowweaver.cli.cluster import Context, Namespace
from flowweaver.errors import FlowWeaverError, UserError

if TYPE_CHECKING:
    from flowweaver.cli.cluster_kubectl import Kubectl
    from flowweaver.cli.doctor_parts import Part

PATIENCE_SECONDS = 10.0


def doctor(
    *,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DB", envvar="FLOWWEAVER_STATE", show_envvar=False, help="A state file. (FLOWWEAVER_STATE)"
        ),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            metavar="URL", help="Where an operator serves /readyz; default in its pod: itself.", show_default=False
        ),
    ] = "",
    namespace: Namespace = "",
    context: Context = "",
    cluster: Annotated[bool, typer.Option(help="Ask the cluster that kubectl reaches.")] = True,
    messages: Annotated[
        bool, typer.Option("--messages", help="With what failed tasks said: a secret may stand in it.")
    ] = False,
    output: Annotated[
        str,
        typer.Option("-o", "--output", metavar="FILE", help="An archive, .tar.gz; - is the standard output."),
    ] = "",
) -> None:
    """Gather what a maintainer would ask for: versions, settings, health, queue, errors, integrity, permissions.

    What can not be looked at is named. Credentials, results and parameters are left out; read it before you send it.
    """
    if output not in {"", "-"} and not output.endswith((".tar.gz", ".tgz")):
        raise UserError(f"--output {output}: it is an archive; call it {output}.tar.gz")
    from flowweaver.cli.cluster_kubectl import Kubectl

    parts = _here(state, url, messages=messages)
    if cluster:
        parts += _cluster(Kubectl(context=context, namespace=namespace), ["--messages"] if messages else [])
    report = _report(parts)
    if not output:
        print(report, end="")
        return
    content = _archive(report, parts)
    if output == "-":
        sys.stdout.buffer.write(content)
        return
    try:
        with Path(output).open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise UserError(f"--output {output}: is there already; nothing is replaced") from None
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}; - writes it to the standard output") from error
    print(f"{output}: {len(content):,} bytes; read it before you send it on")


def _here(state: Path | None, url: str, *, messages: bool) -> list[Part]:
    from flowweaver.cli import doctor_here
    from flowweaver.cli.doctor_parts import gathered

    return [
        gathered("versions", doctor_here.versions),
        gathered("settings", lambda part: doctor_here.settings(part, os.environ)),
        gathered("state file", lambda part: doctor_here.state(part, state, messages=messages)),
        gathered("health", lambda part: _health(part, url)),
        *([gathered("permissions", _own_rights)] if doctor_here.in_a_pod() else []),
    ]


def _health(part: Part, url: str) -> None:
    from flowweaver.cli.doctor_metrics import look_at

    address = url or _own_address()
    if not address:
        part.missing("no operator is named; --url http://HOST:8080 names one")
        return
    import httpx

    own = httpx.URL(address).host in {"127.0.0.1", "::1", "localhost"}
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, trust_env=not own) as client:

        def fetch(path: str) -> tuple[int, str]:
            answer = client.get(path)
            return answer.status_code, answer.text

        part.say(f"asked: {address}")
        try:
            look_at(part, fetch, files="health")
        except httpx.HTTPError as error:
            part.wrong(f"{address} does not answer: {type(error).__name__}: {error}")


def _own_address() -> str:
    """Of the operator beside which this runs, in its pod."""
    host, _, port = os.environ.get("FLOWWEAVER_HTTP", "").rpartition(":")
    return f"http://{host or '127.0.0.1'}:{port}" if port else ""


def _own_rights(part: Part) -> None:
    from flowweaver.operator.api import Api, configuration, own_namespace
    from flowweaver.operator.rights import ask, needed
    from flowweaver.operator.settings import Settings

    settings = Settings.from_environment(os.environ)
    here = settings.own_namespace or own_namespace()
    rights = list(needed(namespaces=settings.namespaces, own_namespace=here, instance=settings.instance))
    with closing(Api(configuration(), connections=1)) as api:
        missing = [right for right in rights if not ask(api, right)]
    part.say(f"this pod has {len(rights) - len(missing)} of the {len(rights)} rights that it needs")
    for right in missing:
        part.wrong(f"it may not {right}")


def _cluster(asked: Kubectl, options: Sequence[str]) -> list[Part]:
    from flowweaver.cli import doctor_cluster
    from flowweaver.cli.doctor_parts import gathered

    pods = []

    def overview(part: Part) -> None:
        if shutil.which("kubectl") is None:
            part.missing("there is no kubectl here")
            return
        try:
            pods.extend(doctor_cluster.overview(part, asked))
        except FlowWeaverError as error:
            part.missing(str(error))

    parts = [gathered("cluster", overview)]
    for pod in pods:
        own = replace(asked, namespace=pod["metadata"]["namespace"])
        name = f"{own.namespace}/{pod['metadata']['name']}"
        for title, look in (
            ("pod", partial(doctor_cluster.pod, options=options)),
            ("log of", doctor_cluster.logs),
            ("permissions of", doctor_cluster.permissions),
        ):
            parts.append(gathered(f"{title} {name}", lambda part, look=look, own=own, pod=pod: look(part, own, pod)))  # type: ignore[misc]
    return parts


def _report(parts: Sequence[Part]) -> str:
    lines = []
    for part in parts:
        lines += [f"== {part.title}", *part.lines, ""]
    problems = [problem for part in parts for problem in part.problems]
    lines += ["== what to look at first", *(problems or ["nothing that stands out"])]
    return "\n".join(lines) + "\n"


def _archive(report: str, parts: Sequence[Part]) -> bytes:
    from flowweaver.cli.doctor_archive import packed

    files = {"report.txt": report.encode()}
    for part in parts:
        files.update(part.files)
    return packed(files)
