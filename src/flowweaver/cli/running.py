"""`flowweaver run`: a manifest here and now, on the same engine as in a cluster."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowweaver.cli.arguments import OutputFormat, ProgressMode, parse_parameters, with_parameters
from flowweaver.cli.manifests import Document, meant, read_documents
from flowweaver.core.records import replace
from flowweaver.errors import ManifestError, StoreError, UserError

if TYPE_CHECKING:
    from flowweaver.manifest import Accepted
    from flowweaver.ports import RunSnapshot

COMPLETED, FAILED, INVALID, CANCELLED = 0, 1, 2, 3
"""Exit statuses; an interrupt gives 128 and the signal's number, as shells count."""

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter: at the usual 5 ms, one busy body makes each step of the engine crawl."""


class ExecutorName(StrEnum):
    """Where attempts run."""

    THREADED = "threaded"


def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file with one Workflow; - is the standard input.")],
    *,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="NAME=JSON", help="A parameter's value; again for more."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DB", help="Keep the state in this file; a second call resumes what is in it."),
    ] = None,
    executor: Annotated[ExecutorName, typer.Option(help="Where attempts run.")] = ExecutorName.THREADED,  # noqa: ARG001 - there is one so far
    workers: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Attempts at once.")] = 4,
    output: Annotated[
        OutputFormat, typer.Option("-o", "--output", help="How the result is printed; json and yaml: nothing else is.")
    ] = OutputFormat.TABLE,
    progress: Annotated[
        ProgressMode,
        typer.Option(
            help="live: a table on a terminal; plain: a line a step; quiet: the result alone; "
            "auto: live where there is a terminal."
        ),
    ] = ProgressMode.AUTO,
) -> None:
    """Run a Workflow here and now.

    Exit status 0: completed, 1: failed, 2: invalid manifest or usage, 3: cancelled, 130: interrupted by Ctrl-C.
    """
    document = _only_workflow(file)
    content = with_parameters(document.content, parse_parameters(parameter or ()))
    accepted = _accepted(document, content)
    logging.basicConfig(level=logging.WARNING, format="flowweaver: %(message)s")
    sys.setswitchinterval(SWITCH_SECONDS)
    sys.path.append(str(Path.cwd()))  # for functions of one's own; at the end, so that nothing is hidden
    quiet = output is not OutputFormat.TABLE
    try:
        with _stdout_kept() if quiet else nullcontext():
            snapshot, number = _execute(accepted, state, workers, mode=progress, quiet=quiet)
    except StoreError as error:
        raise UserError(f"--state {state}: {error}") from error
    _print_result(output, content, snapshot)
    raise typer.Exit(_exit_status(snapshot, number))


@contextmanager
def _stdout_kept() -> Iterator[None]:
    """What bodies print goes to stderr meanwhile: a program that reads the result finds nothing else before it."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _execute(
    accepted: Accepted, state: Path | None, workers: int, *, mode: ProgressMode, quiet: bool
) -> tuple[RunSnapshot, int]:
    from flowweaver.assembly import build_engine
    from flowweaver.cli.progress_live import following
    from flowweaver.cli.sessions import Session
    from flowweaver.core.events import Shutdown
    from flowweaver.policy import Policy

    # In a cluster the API server gives the uid: what makes this run another one than the next, for idempotency keys.
    plan = accepted.plan if accepted.plan.uid else replace(accepted.plan, uid=str(uuid.uuid4()))
    wish = accepted.workflow.spec.shutdown
    # Where the result is for a program, everything else goes to stderr.
    stream = sys.stderr if quiet else sys.stdout
    with (
        following(mode, stream, plan) as progress,
        build_engine(state, policy=Policy.permissive(), workers=workers) as assembly,
    ):
        session = Session(assembly.engine, plan, progress, state)
        for run in assembly.store.unfinished_runs(lambda *_: None):  # the engine tells of damaged ones
            if run.name != session.name:
                progress.say(f"{run.name.workflow} is unfinished in {state} too, and goes on as long as this call does")
        snapshot, number = session.run(Shutdown(wish) if wish else None)
        if number and not snapshot.head.phase.finished:
            again = "the same command goes on with it" if state else "nothing was kept; with --state DB it could go on"
            progress.say(f"Stopped before its end: {again}")
    return snapshot, number


def _exit_status(snapshot: RunSnapshot, number: int) -> int:
    if not snapshot.head.phase.finished:
        return 128 + (number or signal.SIGINT)
    return {"completed": COMPLETED, "failed": FAILED}.get(snapshot.head.phase.value, CANCELLED)


def _print_result(output: OutputFormat, content: Mapping[str, Any], snapshot: RunSnapshot) -> None:
    if output is OutputFormat.TABLE:
        from rich.console import Console

        from flowweaver.cli.progress import print_table

        print_table(Console(highlight=False), snapshot)
        return
    shown = {**content, "status": _status(content, snapshot)}
    if output is OutputFormat.JSON:
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        import yaml

        plain = json.loads(json.dumps(shown))  # YAML knows plain types only, and words may be members of an enumeration
        print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), end="")


def _status(content: Mapping[str, Any], snapshot: RunSnapshot) -> dict[str, Any]:
    """As the operator would write it, without the bounds that the API server needs."""
    from flowweaver.operator.status import Context, status_of_run

    generation = content["metadata"].get("generation")
    context = Context(generation=generation if isinstance(generation, int) else 1, now=time.time())
    return status_of_run(snapshot, context, limit_bytes=sys.maxsize)


def _only_workflow(file: str) -> Document:
    documents = meant(read_documents(file))
    if len(documents) != 1:
        raise UserError(f"{file}: holds {len(documents)} documents, and run takes a file with exactly one Workflow")
    return documents[0]


def _accepted(document: Document, content: Mapping[str, Any]) -> Accepted:
    from flowweaver.manifest import Rejected, validate
    from flowweaver.policy import Policy

    verdict = validate(content, Policy.permissive())
    if isinstance(verdict, Rejected):
        raise ManifestError(tuple(document.finding(problem) for problem in verdict.problems))
    if verdict.plan.suspended:
        raise UserError(f"{document.file}: spec.suspend is true, so that nothing would ever start here: remove it")
    return verdict
