"""`flowweaver state list`, `prune` and `export`: the runs that are in a state file."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowweaver.core.phases import RunPhase
from flowweaver.errors import UserError

if TYPE_CHECKING:
    from flowweaver.core.state import RunHead
    from flowweaver.ports import RunName
    from flowweaver.stores.looking import Look

    Wanted = Callable[[RunName, RunHead], bool]

State = Annotated[
    Path,
    typer.Option(
        "--state", metavar="FILE", envvar="FLOWWEAVER_STATE", show_envvar=False, help="The file. (FLOWWEAVER_STATE)"
    ),
]
UNFOLDED = 300
"""Columns of a table that no terminal shows."""

Phase = Annotated[list[RunPhase] | None, typer.Option("--phase", help="Only runs of that phase; again for more.")]
Named = Annotated[
    str | None, typer.Option("--workflow", metavar="GLOB", help="Only workflows of such a name: 'shop/*'.")
]


class ListFormat(StrEnum):
    """How runs are listed."""

    TABLE = "table"
    JSON = "json"


class ExportFormat(StrEnum):
    """How runs are exported."""

    JSONL = "jsonl"
    JSON = "json"


def list_runs(
    *,
    state: State,
    phase: Phase = None,
    workflow: Named = None,
    output: Annotated[ListFormat, typer.Option("-o", "--output", help="How they are printed.")] = ListFormat.TABLE,
) -> None:
    """List the runs of a state file, oldest first, whoever has it open."""
    from flowweaver.stores.exporting import told_run
    from flowweaver.stores.looking import looking_at

    wanted = _wanted(phase, workflow)
    with looking_at(state) as look:
        runs = [told_run(key, name, head) for key, name, head in look.list_runs() if wanted(name, head)]
    if output is ListFormat.JSON:
        print(json.dumps(runs, indent=2, ensure_ascii=False))
    else:
        _print_table(runs)


def prune(
    *,
    state: State,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Runs that ended so long ago: 30d, 12h, 90m.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The newest N runs of each workflow stay.")
    ] = None,
    phase: Phase = None,
    workflow: Named = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; else it only says what it would do.")] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Then make the file smaller; by itself freed room is used again.")
    ] = False,
) -> None:
    """Forget runs that are over, from a state file that nobody has open.

    What is forgotten is not known any more: the command or program that made such a run begins it anew.
    """
    from flowweaver.engine import SystemClock
    from flowweaver.stores import pruning
    from flowweaver.stores.exporting import told_run
    from flowweaver.stores.looking import looking_at

    if older_than is None and keep is None and not (vacuum and phase is None and workflow is None):
        raise UserError("which runs? Say --older-than 30d, --keep 10, or both")
    rule = pruning.Rule(older_than=_seconds(older_than), keep=keep, wanted=_wanted(phase, workflow))
    if older_than is None and keep is None:
        rule = pruning.Rule(wanted=lambda _name, _head: False)
    if not yes:
        with looking_at(state) as look:
            runs = pruning.chosen(look.list_runs(), rule, now=time.time())
        _print_table([told_run(run.key, run.name, run.head) for run in runs])
        print(f"{counted(len(runs))} would be forgotten; --yes does it" + (", and vacuums the file" if vacuum else ""))
        return
    print(f"{counted(len(pruning.prune(state, rule, clock=SystemClock())))} forgotten")
    if vacuum:
        before, after = pruning.vacuum(state, now=time.time())
        print(f"{state} had {before:,} bytes, and has {after:,}")


def export(
    *,
    state: State,
    phase: Phase = None,
    workflow: Named = None,
    results: Annotated[bool, typer.Option("--results/--no-results", help="What tasks have returned.")] = True,
    output: Annotated[
        ExportFormat, typer.Option("-o", "--output", help="A line for each run, or one list.")
    ] = ExportFormat.JSONL,
) -> None:
    """Print runs with their tasks, attempts and results as JSON, whoever has the file open.

    What bodies are made of, and params, are left out: there may be secrets in them.
    """
    from flowweaver.stores.looking import looking_at

    with looking_at(state) as look:
        runs = _whole_runs(look, _wanted(phase, workflow), results=results)
        if output is ExportFormat.JSONL:
            for run in runs:
                print(json.dumps(run, ensure_ascii=False))
            return
        separator = "[\n"
        for run in runs:
            print(separator + json.dumps(run, ensure_ascii=False), end="")
            separator = ",\n"
        print("[]" if separator == "[\n" else "\n]")


def counted(runs: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{runs} run" if runs == 1 else f"{runs} runs"


def _whole_runs(look: Look, wanted: Wanted, *, results: bool) -> Iterator[dict[str, Any]]:
    from flowweaver.stores.exporting import whole_run

    for key, name, head in look.list_runs():
        if wanted(name, head):
            try:
                yield whole_run(look, key, results=results)
            except KeyError:
                continue  # it was forgotten meanwhile


def _wanted(phases: list[RunPhase] | None, workflow: str | None) -> Wanted:
    def wanted(name: RunName, head: RunHead) -> bool:
        return (not phases or head.phase in phases) and (workflow is None or fnmatchcase(name.workflow, workflow))

    return wanted


def _seconds(text: str | None) -> float | None:
    """A time such as `30d` or what durations of manifests are; raises `UserError`."""
    from flowweaver.manifest import durations

    if text is None:
        return None
    days, unit, rest = text.partition("d")
    try:
        if unit and days.isdecimal():
            return int(days) * 86400.0 + (durations.seconds(rest) if rest else 0.0)
        return durations.seconds(text)
    except ValueError:
        raise UserError(f"--older-than {text}: write a number with a unit, such as 30d, 12h or 90m") from None


def _print_table(runs: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from flowweaver.cli.progress import COLOURS, plain

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("WORKFLOW", overflow="fold", min_width=8)
    table.add_column("RUN", overflow="fold", min_width=7)
    for column in ("PHASE", "STARTED", "FINISHED", "REASON"):
        table.add_column(column, no_wrap=True)
    for run in runs:
        generation = f" #{run['generation']}" if run["generation"] > 1 else ""
        table.add_row(
            Text(plain(run["workflow"])),
            Text(plain(run["runId"]) + generation),
            Text(run["phase"].capitalize(), COLOURS.get(run["phase"], "")),
            _short(run["startedAt"]),
            _short(run["finishedAt"]),
            Text(plain(run["reason"])),
        )
    # Where there is no terminal, in a pipe or a pod, somebody looks for a name in a line: none is folded.
    Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED).print(table)


def _short(time_text: str | None) -> str:
    return time_text[:19].replace("T", " ") + "Z" if time_text else ""
