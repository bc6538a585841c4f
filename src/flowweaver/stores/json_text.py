"""Between a run and its text in the snapshot: JSON that a person reads, one line for each task.

What this writes is read back line by line, so that a result comes back byte for byte as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from msgspec import structs

from flowweaver.core.events import Shutdown
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import RunCorrupt
from flowweaver.ports import RunName
from flowweaver.stores.history import AttemptRow
from flowweaver.stores.json_rows import Rows

PLAN = b'\n}, "plan": '
"""What stands between the tasks of a run and its plan, which ends the run; a string can not hold it."""

RESULT = b', "result": '  # the last field of a task, where it has one

_HEAD_DEFAULTS = {field.name: field.default for field in fields(RunHead) if field.init and field.name != "phase"}
_TASK_DEFAULTS = {field.name: field.default for field in structs.fields(TaskState) if field.name != "phase"}
_PENDING = TaskState()
_PENDING_LINE = '{"status": "pending"}'

encoded = json.JSONEncoder(ensure_ascii=False).encode


# ------------------------------------------------------------------------------------------------------------ writing


def text_of(key: int, name: RunName, head: RunHead, digest: str, rows: Rows) -> bytes:
    """A run as text, without the comma that may follow."""
    lines = [_head_line(key, name, head, digest).encode()]
    tasks = [
        _task_line(name, state, rows.results.get(task), rows.attempts.get(task, {}).values())
        for task, (name, state) in enumerate(zip(rows.names, rows.tasks, strict=True))
    ]
    if tasks:
        lines.append(b",\n".join(tasks))
    return b"\n".join(lines) + PLAN + rows.plan.encode() + b"}"


def _head_line(key: int, name: RunName, head: RunHead, digest: str) -> str:
    named = {"key": key, "workflow": name.workflow, "run_id": name.run_id, "generation": name.generation}
    return encoded({**named, **_told(head, _HEAD_DEFAULTS), "plan_digest": digest})[:-1] + ', "tasks": {'


def _task_line(name: str, state: TaskState, result: bytes | None, attempts: Iterable[AttemptRow]) -> bytes:
    quoted = encoded(name)
    history = [_without_end(row) for row in attempts]
    if state is _PENDING and result is None and not history:
        return f"  {quoted}: {_PENDING_LINE}".encode()
    told = _told(state, _TASK_DEFAULTS)
    if history:
        told["history"] = history
    if result is not None and not _shows_as_it_is(result):
        told["result_hex"], result = result.hex(), None
    line = f"  {quoted}: {encoded(told)}".encode()
    return line if result is None else line[:-1] + RESULT + result + b"}"


def _without_end(row: AttemptRow) -> list[Any]:
    """Its columns, up to the last one that says anything."""
    columns: list[Any] = list(row)
    while columns[-1] in {None, ""}:
        columns.pop()
    return columns


def _told(value: RunHead | TaskState, defaults: dict[str, Any]) -> dict[str, Any]:
    """The phase, and all that is not as usual."""
    told = {"status": str(value.phase)}
    for name, default in defaults.items():
        found = getattr(value, name)
        if found != default:
            told[name] = found
    return told


def _shows_as_it_is(result: bytes) -> bool:
    """Whether it is JSON on one line."""
    if b"\n" in result:
        return False
    try:
        json.loads(result, parse_constant=_refuse)
    except ValueError:
        return False
    except RecursionError:
        return False  # deeper than whoever reads the file may like
    return True


def _refuse(word: str) -> None:
    raise ValueError(word)


# ------------------------------------------------------------------------------------------------------------ reading


def runs_of(text: bytes) -> Iterator[tuple[int, RunName, RunHead, str, bytes]]:
    """The runs in a text of runs with commas between them; each run's rows are read when they are asked for."""
    start = 0
    while start < len(text):
        plan = text.index(PLAN, start) + len(PLAN)
        end = text.find(b"\n", plan)
        end = len(text) if end < 0 else end
        run = text[start:end].removesuffix(b",")
        yield (*_head_of(run), run)
        start = end + 1


def _head_of(run: bytes) -> tuple[int, RunName, RunHead, str]:
    line, _, _ = run.partition(b"\n")
    told = json.loads(line + b"}}")
    del told["tasks"]
    key, digest = told.pop("key"), told.pop("plan_digest")
    name = RunName(told.pop("workflow"), told.pop("run_id"), told.pop("generation"))
    try:
        if "shutdown" in told:
            told["shutdown"] = Shutdown(told["shutdown"])
        return key, name, RunHead(phase=RunPhase(told.pop("status")), **told), digest
    except ValueError as exc:
        raise RunCorrupt(f"run {key}: {exc} that this version knows") from exc


def rows_of(key: int, run: bytes) -> Rows:
    """The rows of the run in that text."""
    tasks, _, plan = run.partition(PLAN)
    lines = [line.removesuffix(b",") for line in tasks.split(b"\n")[1:]]
    rows = Rows(plan=plan[:-1].decode(), names=(), tasks=[])
    names = []
    for task, line in enumerate(lines):
        name, told, result = _task_of(line)
        names.append(name)
        if result is not None:
            rows.results[task] = result
        if "history" in told:
            history = [AttemptRow(*columns) for columns in told.pop("history")]
            rows.attempts[task] = {row.number: row for row in history}
        try:
            phase = TaskPhase(told.pop("status"))
        except ValueError as exc:
            raise RunCorrupt(f"run {key}, task {task}: {exc} that this version knows") from exc
        rows.tasks.append(_PENDING if phase is TaskPhase.PENDING and not told else TaskState(phase=phase, **told))
    rows.names = tuple(names)
    return rows


def _task_of(line: bytes) -> tuple[str, dict[str, Any], bytes | None]:
    """A task's name, what is told of it, and its result."""
    head, found, raw = line.partition(RESULT)
    ((name, told),) = json.loads(b"{" + head + (b"}}" if found else b"}")).items()
    result = raw[:-1] if found else None
    if "result_hex" in told:
        result = bytes.fromhex(told.pop("result_hex"))
    return name, told, result
