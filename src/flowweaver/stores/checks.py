"""Whether a store holds together: the file, as its format sees it, and what it says, as an engine needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import TaskState
from flowweaver.errors import StoreCorrupt
from flowweaver.ports import StoredRun, StorePosition
from flowweaver.stores.backups import Kind, Origin, kind_of, origin_of
from flowweaver.stores.looking import looking_at

if TYPE_CHECKING:
    from flowweaver.stores.looking import Look

MOST_PROBLEMS = 100
"""After so many it looks no further."""

CHECKS = ("check_plans", "check_places", "check_generations", "check_attempt_numbers", "check_running_tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found."""

    kind: Kind
    layout: int  # of the file; an older one is brought up to date by whoever opens it
    position: StorePosition
    origin: Origin | None  # where it is a backup
    runs: int
    problems: tuple[str, ...] = field(default=())  # a sentence each; empty: it holds together


def check(path: Path) -> Checked:
    """Look at all of the store, whoever has it; a log grows as long as this takes.

    Raises `StoreUnavailable` where it can not be read, `StoreTooNew` where a newer version wrote it, `StoreCorrupt`
    where it is so damaged that nothing can be told of it, `StoreError` where it is none of ours.
    """
    kind = kind_of(path)
    layout, problems = (_layout_of_json(path), []) if kind is Kind.JSON else _of_sqlite(path)
    if problems:  # pages that are wrong: what they seem to say is not worth telling
        return Checked(
            kind=kind, layout=layout, position=StorePosition("", 0, 0), origin=None, runs=0, problems=tuple(problems)
        )
    with looking_at(path) as look:
        position = look.position()
        runs = _look_at_runs(look, problems)
    return Checked(
        kind=kind,
        layout=layout,
        position=position,
        origin=origin_of(path),
        runs=runs,
        problems=tuple(problems[:MOST_PROBLEMS]),
    )


def _layout_of_json(path: Path) -> int:
    from flowweaver.stores.json_files import FORMAT

    del path  # reading it at all compares checksums, and refuses what is newer
    return FORMAT


def _of_sqlite(path: Path) -> tuple[int, list[str]]:
    """The file's layout, and what is wrong with its pages, references and rows."""
    from flowweaver.stores.sqlite_backups import looked_at, page_problems, position_of, require_ours, told
    from flowweaver.stores.statements import statements

    with looked_at(path) as connection, told(path, path):
        connection.execute("BEGIN")
        layout = require_ours(connection, path)
        if pages := page_problems(connection, MOST_PROBLEMS):
            return layout, [f"the file: {line}" for line in pages]
        position_of(connection, path)
        problems = [
            f"a row of {table} ({row}) belongs to a row of {parent} that is not there"
            for table, row, parent, _ in islice(connection.execute("PRAGMA foreign_key_check"), MOST_PROBLEMS)
        ]
        for name in CHECKS:
            found = islice(connection.execute(statements()[name]), MOST_PROBLEMS)
            problems += [f"run {key} {sentence}" for key, sentence in found]
    return layout, problems


def _look_at_runs(look: Look, problems: list[str]) -> int:
    """Add what is found to `problems`; gives how many runs were seen."""
    runs = 0
    try:
        for key, _, _ in look.list_runs():
            runs += 1
            problems += _of_run(look, key)
            if len(problems) >= MOST_PROBLEMS:
                break
    except StoreCorrupt as exc:
        problems.append(str(exc))
    return runs


def _of_run(look: Look, key: int) -> list[str]:
    try:
        stored = look.read_run(key)
        results = look.read_results(key, range(len(stored.tasks)))
    except KeyError:
        return []  # it was deleted meanwhile
    except StoreCorrupt as exc:
        return [str(exc)]
    return [f"run {key} ({stored.name.workflow}): {sentence}" for sentence in violations(stored, results)]


def violations(stored: StoredRun, results: dict[int, bytes]) -> Iterator[str]:
    """What can not be true of one run, as sentences; `results` are those of its tasks."""
    unfinished = [state for state in stored.tasks if not state.phase.finished]
    if stored.head.phase.finished != (not unfinished):
        yield f"it is {stored.head.phase} with {len(unfinished)} unfinished tasks"
    at = {task.name: position for position, task in enumerate(stored.plan.tasks)}
    for position, (task, state) in enumerate(zip(stored.plan.tasks, stored.tasks, strict=True)):
        for sentence in _of_task(state, results.get(position)):
            yield f'task "{task.name}" {sentence}'
        waits_for = [name for name in task.depends_on if not stored.tasks[at[name]].phase.finished]
        if waits_for and state.phase in {TaskPhase.RUNNING, TaskPhase.WAITING}:
            yield f'task "{task.name}" is {state.phase} before "{waits_for[0]}" has finished'


def _of_task(state: TaskState, result: bytes | None) -> Iterator[str]:
    if state.phase is TaskPhase.COMPLETED and result is None:
        yield "is completed without a result"
    if result is not None and not _is_json(result):
        yield "has a result that is no JSON"
    if state.failures + state.crashes > state.attempts:
        yield f"has {state.failures} failures and {state.crashes} crashes in {state.attempts} attempts"
    if (state.phase is TaskPhase.WAITING) != (state.not_before is not None):
        yield f"is {state.phase} with not_before {state.not_before}"


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
