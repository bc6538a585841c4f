"""Between an operation and its line in the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.errors import InternalError
from flowweaver.ports import ChildProcess, RunName
from flowweaver.stores import rows
from flowweaver.stores.json_contents import Commit, Creation, Creations, Deletion, EpochBegun, Operation
from flowweaver.stores.texts import storable

_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def record_of(operation: Operation) -> bytes:
    """One line of JSON; raises `UnicodeEncodeError` where it has text that can not be stored."""
    match operation:
        case Creations(runs):
            told: Any = {"created": [_told_of_run(creation) for creation in runs]}
        case Commit(changes, processes):
            told = {"committed": _told_of_changes(changes, processes)}
        case Deletion(run):
            told = {"deleted": run}
        case EpochBegun(epoch):
            told = {"epoch": epoch}
    return _encoded(told).encode()


def operation_of(record: bytes) -> Operation:
    """What `record_of` wrote; raises `ValueError` where it makes no sense."""
    try:
        ((word, told),) = json.loads(record).items()
        match word:
            case "created":
                return Creations([_run_of(run) for run in told])
            case "committed":
                return _commit_of(told)
            case "deleted":
                return Deletion(told)
            case "epoch":
                return EpochBegun(told)
    except (KeyError, TypeError, IndexError, AttributeError, InternalError) as exc:
        raise ValueError(f"{type(exc).__name__}: {exc}") from exc
    raise ValueError(f"{word!r} is no operation that this version knows")


def _told_of_run(creation: Creation) -> dict[str, Any]:
    return {
        "key": creation.key,
        "name": creation.name,
        "head": rows.head_row(creation.head),
        "plan": creation.plan,
        "digest": creation.digest,
        "source": creation.source,
        "kept": list(creation.kept.items()),
        "given": [
            (position, rows.task_row(state), _told_of_result(result))
            for position, (state, result) in creation.given.items()
        ],
    }


def _run_of(told: dict[str, Any]) -> Creation:
    return Creation(
        key=told["key"],
        name=RunName(*told["name"]),
        head=rows.told_head(told["head"]),
        plan=told["plan"],
        digest=told["digest"],
        names=_names_of(told["plan"]),
        source=told["source"],
        kept=dict(told["kept"]),
        given={position: (rows.told_state(state), _result_of(result)) for position, state, result in told["given"]},
    )


def _names_of(plan: str) -> tuple[str, ...]:
    """The names of the tasks in the JSON text of a plan."""
    return tuple(storable(task["name"]) for task in json.loads(plan)["tasks"])


def _told_of_changes(changes: Changes, processes: Iterable[ChildProcess]) -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {}
    if changes.tasks:
        told["tasks"] = [(run, task, rows.task_row(state)) for run, task, state in changes.tasks]
    if changes.results:
        told["results"] = [(run, task, _told_of_result(result)) for run, task, result in changes.results]
    if changes.started:
        told["started"] = changes.started
    if changes.closed:
        told["closed"] = changes.closed
    if processes:
        told["processes"] = [(process.attempt, process.pid, process.started) for process in processes]
    if changes.runs:
        told["runs"] = [(run, rows.head_row(head)) for run, head in changes.runs]
    return told


def _commit_of(told: dict[str, list[Any]]) -> Commit:
    changes = Changes(
        tasks=[TaskChanged(run, task, rows.told_state(state)) for run, task, state in told.get("tasks", ())],
        results=[ResultRecorded(run, task, _result_of(result)) for run, task, result in told.get("results", ())],
        started=[AttemptStarted(AttemptId(*attempt), at) for attempt, at in told.get("started", ())],
        closed=[AttemptClosed(AttemptId(*attempt), *rest) for attempt, *rest in told.get("closed", ())],
        runs=[RunChanged(run, rows.told_head(head)) for run, head in told.get("runs", ())],
    )
    processes = [
        ChildProcess(attempt=AttemptId(*attempt), pid=pid, started=started)
        for attempt, pid, started in told.get("processes", ())
    ]
    return Commit(changes, processes)


def _told_of_result(result: bytes) -> str | list[str]:
    """Its text; where it is no text, its bytes in a list."""
    try:
        return result.decode()
    except UnicodeDecodeError:
        return [result.hex()]


def _result_of(told: str | list[str]) -> bytes:
    return told.encode() if isinstance(told, str) else bytes.fromhex(told[0])
