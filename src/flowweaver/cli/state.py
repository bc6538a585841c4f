"""`flowweaver state`: backs a state file up, restores and checks it, whoever runs on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowweaver.cli import state_runs
from flowweaver.cli.state_runs import State, counted
from flowweaver.errors import FlowWeaverError

if TYPE_CHECKING:
    from flowweaver.stores.backups import Origin

commands = typer.Typer(
    help="Look after a state file: backups, checks, and what is in it.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@commands.command()
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="A new file, or a folder where it gets a name with the time.")
    ],
    *,
    state: State,
) -> None:
    """Copy a state file, while an engine goes on with it.

    The copy is checked and synced before it has its name; nothing is replaced.
    """
    from flowweaver.stores.backups import name_of_backup, write_backup
    from flowweaver.stores.looking import looking_at

    now = time.time()
    if target.is_dir():
        with looking_at(state) as look:
            store = look.position().id
        target /= name_of_backup(state.stem, store, now, state.suffix)
    origin = write_backup(state, target, now=now)
    print(f"{target}: {_told(origin)}, {_size(target)}")


@commands.command()
def restore(
    source: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="A file, or a folder: the newest backup that is in it.")
    ],
    *,
    state: State,
) -> None:
    """Put a backup in the place of a state file that nobody has open.

    The backup is checked first. The old file is kept beside it, under another name.
    """
    from flowweaver.stores.backups import newest_in
    from flowweaver.stores.restoring import restore as put_back

    if source.is_dir():
        source = newest_in(source)
    restored = put_back(source, state, now=time.time())
    position = restored.position
    print(f"{state} is what {source} is: store {position.id}, commit {position.sequence}")
    if restored.origin is not None:
        print(f"the backup: {_told(restored.origin)}")
    if restored.kept is not None:
        before = restored.before
        was = f"store {before.id}, commit {before.sequence}" if before else "it could not be read"
        print(f"what was there ({was}) is kept as {restored.kept.name}: remove it when you do not need it")


@commands.command()
def check(*, state: State) -> None:
    """Say whether a state file or a backup holds together, whoever has it open.

    Exit status 0: it does, 1: it does not, or can not be read, 2: usage.
    """
    from flowweaver.stores.checks import check as look_through

    found = look_through(state)
    for problem in found.problems:
        print(f"{state}: {problem}")
    if found.problems:
        raise _Unsound(f"{state} does not hold together: restore a backup of it (flowweaver state restore)")
    position = found.position
    print(f"{state} holds together: {found.kind}, layout {found.layout}, {counted(found.runs)}")
    print(f"store {position.id}, epoch {position.epoch}, commit {position.sequence}")
    if found.origin is not None:
        print(f"a backup: {_told(found.origin)}")


commands.command("list")(state_runs.list_runs)
commands.command("prune")(state_runs.prune)
commands.command("export")(state_runs.export)


class _Unsound(FlowWeaverError):
    """What was found is printed already."""


def _told(origin: Origin) -> str:
    from flowweaver.stores.exporting import told_time

    return f"taken {told_time(origin.made_at)} of store {origin.store} at commit {origin.sequence}"


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / (1 << 20):.1f} MiB" if size >= 1 << 20 else f"{size / (1 << 10):.0f} KiB"
