"""Workflows of a cluster as tables: what the operator wrote into their status, for a reader.

All of it comes from a server, so that nothing in it is believed to be there, or of a type, or harmless on a terminal.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowweaver.cli.progress import COLOURS, clock, duration, plain
from flowweaver.operator.objects import instant

LONGEST_VALUE = 200
"""Characters of an output that are shown."""

# What failed and what is at work is what one looks for, where not all have room.
_FIRST = ("Failed", "Running", "Waiting", "Cancelled", "Completed", "Skipped", "Pending")


def of_many(items: Sequence[Any], *, namespaces: bool, now: float, most: int | None = None) -> RenderableType:
    """A row a Workflow; at most so many, unfinished ones first then."""
    table = _table(*(["NAMESPACE"] if namespaces else []), "NAME", "PHASE", "PROGRESS", "RUNNING", "FAILED", "AGE")
    table.add_column("DURATION", no_wrap=True)
    table.add_column("MESSAGE", no_wrap=True, overflow="ellipsis")
    shown = sorted(items, key=_key)
    if most is not None and len(shown) > most:
        shown = sorted(shown, key=is_finished)[:most]
    for item in shown:
        metadata, status = _part(item, "metadata"), _part(item, "status")
        counts = _part(status, "counts")
        began, ended = instant(status.get("startedAt")), instant(status.get("finishedAt"))
        table.add_row(
            *([_text(metadata.get("namespace"))] if namespaces else []),
            _text(metadata.get("name")),
            _phase(status),
            _text(status.get("progress")),
            _number(counts.get("running")),
            _number(counts.get("failed")),
            duration(instant(metadata.get("creationTimestamp")), now),
            duration(began, now if ended is None else ended),
            _text(status.get("message")),
        )
    return _with_rest(table, len(items) - len(shown))


def of_one(item: Any, *, now: float, most: int | None = None) -> RenderableType:
    """All that a Workflow's status says; at most so many tasks, failed and running ones first then."""
    status = _part(item, "status")
    parts: list[RenderableType] = [_head(item, now), "", _conditions(status, now)]
    tasks = [task for task in status.get("tasks") or () if isinstance(task, Mapping)]
    shown: Sequence[Mapping[str, Any]] = tasks
    if most is not None and len(tasks) > most:
        rank = {phase: place for place, phase in enumerate(_FIRST)}
        shown = sorted(tasks, key=lambda task: rank.get(str(task.get("phase")), len(rank)))[:most]
    truncated = status.get("tasksTruncated")
    unseen = truncated if isinstance(truncated, int) else 0
    parts += ["", _with_rest(_tasks(shown, now), len(tasks) - len(shown) + unseen)]
    if outputs := _outputs(status):
        parts += ["", outputs]
    return Group(*parts)


def is_finished(item: Any) -> bool:
    """Whether the operator says that it has finished, and says it of the newest generation."""
    status = _part(item, "status")
    seen = status.get("observedGeneration") == _part(item, "metadata").get("generation")
    return seen and any(
        isinstance(found, Mapping) and found.get("type") == "Finished" and found.get("status") == "True"
        for found in status.get("conditions") or ()
    )


def phase_of(item: Any) -> str:
    """`status.phase`; `Pending` where nobody has looked at it yet."""
    return str(_part(item, "status").get("phase") or "Pending")


def printed(content: RenderableType) -> None:
    """Print for a terminal as wide as it is, for anything else as wide as it gets, without blanks at the ends."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(content)
        return
    wide = Console(file=io.StringIO(), width=4096, highlight=False, no_color=True)
    wide.print(content)
    assert isinstance(wide.file, io.StringIO)
    print("\n".join(line.rstrip() for line in wide.file.getvalue().splitlines()))


def _head(item: Any, now: float) -> RenderableType:
    metadata, status = _part(item, "metadata"), _part(item, "status")
    began, ended = instant(status.get("startedAt")), instant(status.get("finishedAt"))
    counts = ", ".join(f"{number} {phase}" for phase, number in _part(status, "counts").items() if number)
    overhead = _part(status, "overhead")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}".lstrip("/")
    phase = _phase(status)
    if status.get("message"):
        phase.append(f": {plain(str(status['message']))}", "not bold")
    for title, value in (
        ("Workflow", _text(name)),
        ("Phase", phase),
        ("Progress", _text(f"{status.get('progress', '')}{f': {counts}' if counts else ''}")),
        ("Started", Text("" if began is None else clock(began))),
        ("Finished", Text("" if ended is None else clock(ended))),
        ("Duration", Text(duration(began, now if ended is None else ended))),
        ("Queued", Text(_milliseconds(overhead.get("queuedMilliseconds")))),
    ):
        if value.plain:
            table.add_row(title, value)
    return table


def _conditions(status: Mapping[str, Any], now: float) -> Table:
    table = _table("CONDITION", "STATUS", "REASON", "SINCE")
    table.add_column("MESSAGE", overflow="fold")
    for found in status.get("conditions") or ():
        if isinstance(found, Mapping):
            since = duration(instant(found.get("lastTransitionTime")), now)
            words = [_text(found.get(name)) for name in ("type", "status", "reason")]
            table.add_row(*words, since, _text(found.get("message")))
    return table


def _tasks(tasks: Sequence[Mapping[str, Any]], now: float) -> Table:
    table = _table("TASK", "PHASE", "ATTEMPTS", "STARTED", "DURATION")
    table.columns[2].justify = table.columns[4].justify = "right"
    table.add_column("REASON", overflow="fold")
    for task in tasks:
        began, ended = instant(task.get("startedAt")), instant(task.get("finishedAt"))
        words = [str(task[name]) for name in ("reason", "message") if task.get(name)]
        table.add_row(
            _text(task.get("name")),
            _phase(task),
            _number(task.get("attempts")),
            "" if began is None else clock(began),
            duration(began, now if ended is None else ended),
            _text(": ".join(words)),
        )
    return table


def _outputs(status: Mapping[str, Any]) -> Table | None:
    table = _table("OUTPUT")
    table.add_column("VALUE", overflow="fold")
    for output in status.get("outputs") or ():
        if isinstance(output, Mapping):
            value = output.get("value")
            shown = plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            cut = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}… ({len(shown):,} characters)"
            table.add_row(_text(output.get("name")), Text(cut))
    return table if table.row_count else None


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _with_rest(table: Table, rest: int) -> RenderableType:
    return Group(table, Text(f"… and {rest:,} more", "bright_black")) if rest > 0 else table


def _phase(status: Mapping[str, Any]) -> Text:
    phase = plain(str(status.get("phase") or "Pending"))
    return Text(phase, COLOURS.get(phase.lower(), ""))


def _text(value: object) -> Text:
    return Text("" if value is None else plain(str(value)))


def _number(value: object) -> str:
    return str(value) if isinstance(value, int) and value else ""


def _milliseconds(value: object) -> str:
    return duration(0.0, value / 1000) if isinstance(value, int | float) else ""


def _part(item: Any, name: str) -> Mapping[str, Any]:
    found = item.get(name) if isinstance(item, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _key(item: Any) -> tuple[str, str]:
    metadata = _part(item, "metadata")
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
