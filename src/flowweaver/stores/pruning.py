"""Forgets runs that are over, and gives back the room that they took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from flowweaver.core.state import RunHead
from flowweaver.errors import StoreLocked, StoreUnavailable
from flowweaver.ports import Clock, RunName
from flowweaver.stores.backups import Kind, kind_of, sync, sync_folder, temporary_file
from flowweaver.stores.filesystems import checked_path
from flowweaver.stores.locks import StoreLock

BY_HAND = ""
"""The workflow of states that a program has saved for a name alone: they are its data, and no history."""


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run that may be forgotten."""

    key: int
    name: RunName
    head: RunHead


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Which runs are to be forgotten. One that has not finished never is."""

    older_than: float | None = None  # seconds since its end; None: however old
    keep: int | None = None  # so many of the newest runs of each workflow stay; None: none do for that
    wanted: Callable[[RunName, RunHead], bool] = lambda _name, _head: True


def chosen(runs: Iterable[tuple[int, RunName, RunHead]], rule: Rule, *, now: float) -> list[OldRun]:
    """Those that the rule forgets, oldest first.

    Of the generations of a run the older ones go first: were the newest forgotten alone, the one before it would count.
    """
    by_workflow: dict[str, list[OldRun]] = defaultdict(list)
    for key, name, head in runs:
        if name.workflow != BY_HAND:
            by_workflow[name.workflow].append(OldRun(key, name, head))
    found: list[OldRun] = []
    for of_workflow in by_workflow.values():
        kept = {run.key for run in sorted(of_workflow, key=lambda run: run.key)[-rule.keep :]} if rule.keep else set()
        stopped: set[str] = set()  # run ids of which an older generation stays
        for run in sorted(of_workflow, key=lambda run: run.name.generation):
            if run.name.run_id in stopped or run.key in kept or not _is_old(run, rule, now):
                stopped.add(run.name.run_id)
            else:
                found.append(run)
    return sorted(found, key=lambda run: run.key)


def _is_old(run: OldRun, rule: Rule, now: float) -> bool:
    if not run.head.phase.finished or not rule.wanted(run.name, run.head):
        return False
    ended = run.head.finished_at if run.head.finished_at is not None else run.head.created_at
    return rule.older_than is None or ended <= now - rule.older_than


def prune(path: Path, rule: Rule, *, clock: Clock) -> list[OldRun]:
    """Forget them; gives which. It is a new epoch of the store, as if an engine had opened it.

    Raises `StoreLocked` while somebody has the store, and the other `StoreError`s.
    """
    from flowweaver.stores import JSONStore, SQLiteStore

    store = (JSONStore if kind_of(path) is Kind.JSON else SQLiteStore)(path, clock=clock)
    try:
        runs = chosen(store.list_runs(), rule, now=clock.now())
        for run in runs:
            store.delete_run(run.key)
    finally:
        store.close()
    return runs


def vacuum(path: Path, *, now: float) -> tuple[int, int]:
    """Write the file anew without the room that is not used; gives its bytes before and after. A JSON store has none.

    It needs as much room again as the new file has. Raises `StoreLocked` while somebody has the store, or looks at it,
    and the other `StoreError`s; the file is as it was then.
    """
    path = checked_path(path)
    before = path.stat().st_size
    if kind_of(path) is Kind.JSON:
        return before, before
    from flowweaver.stores.sqlite_backups import alone_with, require_whole, told, write_anew

    lock = StoreLock(path, now=now)
    try:
        with temporary_file(path, ".vacuum", path.stat().st_mode & 0o777) as new:
            write_anew(path, new)
            if _has_log(path):
                raise StoreLocked(f"{path} is being looked at by another program: end it, then try again")
            with told(new, new), alone_with(new) as written:
                require_whole(written, new)
            sync(new)
            new.replace(path)
            sync_folder(path.parent)
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be written anew: {exc.strerror}; look at the disk") from exc
    finally:
        lock.release()
    return before, path.stat().st_size


def _has_log(path: Path) -> bool:
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
