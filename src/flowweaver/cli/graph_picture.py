"""What a picture of a run shows, wherever the run is known from: a manifest, a state file or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowweaver.cli.cluster_kubectl import WORKFLOWS, Kubectl
from flowweaver.cli.manifests import Document, meant, read_documents
from flowweaver.errors import ManifestError, StoreError, UserError

MOST_LISTED = 10  # runs of a state file, in a refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTask:
    """One task. `depends_on` are positions among the drawn tasks."""

    name: str
    depends_on: tuple[int, ...]
    phase: str = ""  # as a reader sees it: Completed; empty: nothing has run
    attempts: int = 0
    took: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One workflow or run."""

    title: str
    tasks: tuple[DrawnTask, ...]
    phase: str = ""

    @property
    def summary(self) -> str:
        """The phase, and how many tasks are in which."""
        if not self.phase:
            return f"{len(self.tasks)} task{'' if len(self.tasks) == 1 else 's'}"
        counts: dict[str, int] = {}
        for task in self.tasks:
            counts[task.phase] = counts.get(task.phase, 0) + 1
        return f"{self.phase}: " + ", ".join(f"{number} {phase.lower()}" for phase, number in counts.items())


def of_manifest(file: str) -> Picture:
    """A file with one Workflow, which has not run; raises `UserError` and `ManifestError`."""
    documents = meant(read_documents(file))
    if len(documents) != 1:
        raise UserError(f"{file}: holds {len(documents)} documents, and graph takes a file with exactly one Workflow")
    return _of_spec(documents[0], {})


def of_cluster(cluster: Kubectl, name: str) -> Picture:
    """A Workflow of a cluster with what its status says; raises `FlowWeaverError`."""
    found = cluster.get(WORKFLOWS, name)
    status = found.get("status") or {}
    return _of_spec(Document(f"workflow {name}", "", 0, found), status)


def of_state(file: Path, run: str) -> Picture:
    """The newest run of that workflow in a state file; raises `UserError` where it is not there.

    An empty `run` is the only workflow of the file. A running engine is not disturbed.
    """
    from flowweaver.cli.progress import duration, why
    from flowweaver.stores.looking import looking_at

    try:
        with looking_at(file) as look:
            stored = look.read_run(_chosen([(key, name.workflow) for key, name, _ in look.list_runs()], file, run))
    except StoreError as error:
        raise UserError(f"--state {file}: {error}") from error
    shown = [place for place, task in enumerate(stored.plan.tasks) if not task.internal]
    states = {stored.plan.tasks[place].name: stored.tasks[place] for place in shown}

    def drawn(name: str, depends_on: tuple[int, ...]) -> DrawnTask:
        state = states[name]
        return DrawnTask(
            name=name,
            depends_on=depends_on,
            phase=state.phase.capitalize(),
            attempts=state.attempts,
            took=duration(state.started_at, state.finished_at),
            reason=why(state),
        )

    tasks = [(stored.plan.tasks[place].name, stored.plan.tasks[place].depends_on) for place in shown]
    return Picture(title=stored.name.workflow, phase=stored.head.phase.capitalize(), tasks=_drawn(tasks, drawn))


def _chosen(runs: Sequence[tuple[int, str]], file: Path, wanted: str) -> int:
    """The key of the newest run of that workflow, given with its namespace or without."""
    newest = {workflow: key for key, workflow in runs}
    fitting = [name for name in newest if not wanted or name == wanted or name.rpartition("/")[2] == wanted]
    if len(fitting) == 1:
        return newest[fitting[0]]
    there = sorted(fitting or newest)
    names = ", ".join(there[:MOST_LISTED]) + (" …" if len(there) > MOST_LISTED else "")
    if fitting:
        raise UserError(f"--state {file}: holds {len(fitting)} such workflows: choose one by --run ({names})")
    raise UserError(
        f"--run {wanted}: {file} has no such run (it has: {names or 'none'})"
        if wanted
        else f"--state {file}: has no runs"
    )


def _of_spec(document: Document, status: Mapping[str, Any]) -> Picture:
    from flowweaver.cli.progress import duration, plain
    from flowweaver.manifest import Rejected, validate
    from flowweaver.operator.objects import instant
    from flowweaver.policy import Policy

    verdict = validate(document.content, Policy.permissive())
    if isinstance(verdict, Rejected):
        raise ManifestError(tuple(document.finding(problem) for problem in verdict.problems))
    plan = verdict.plan
    entries = {entry["name"]: entry for entry in status.get("tasks") or ()}

    def drawn(name: str, depends_on: tuple[int, ...]) -> DrawnTask:
        entry = entries.get(name) or {}
        words = [str(entry[key]) for key in ("reason", "message") if entry.get(key)]
        return DrawnTask(
            name=name,
            depends_on=depends_on,
            phase=str(entry.get("phase") or ("Pending" if entries else "")),
            attempts=entry.get("attempts") or 0,
            took=duration(instant(entry.get("startedAt")), instant(entry.get("finishedAt"))),
            reason=plain(": ".join(words)),
        )

    tasks = [(task.name, task.depends_on) for task in plan.tasks if not task.internal]
    title = f"{plan.namespace}/{plan.name}" if plan.namespace and status else plan.name
    phase = str(status.get("phase") or "") if entries else ""
    return Picture(title=title, phase=phase, tasks=_drawn(tasks, drawn))


def _drawn(
    tasks: Sequence[tuple[str, tuple[str, ...]]], draw: Callable[[str, tuple[int, ...]], DrawnTask]
) -> tuple[DrawnTask, ...]:
    places = {name: place for place, (name, _) in enumerate(tasks)}
    return tuple(
        draw(name, tuple(dict.fromkeys(places[other] for other in depends_on if other in places)))
        for name, depends_on in tasks
    )
