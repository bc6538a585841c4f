"""State files of FlowWeaver 0.2, which had one state for each name of a task: their states are taken over, once.

The old file stays, beside the new one.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from flowweaver.errors import StoreError
from flowweaver.library.saved_states import Given, save_states
from flowweaver.library.statuses import TaskStatus
from flowweaver.ports import Store

logger = logging.getLogger(__name__)

_AT_ONCE = 1000  # states that are written in one transaction
_FIELDS = {"status", "result", "error", "timestamp"}

OldStates = Mapping[str, Given]


def take_over(path: Path, read: Callable[[Path], OldStates | None], open_store: Callable[[Path], Store]) -> None:
    """Let the file at that real path be a new store with the states that `read` finds in it; None: leave it alone.

    The new one is made beside it and takes its place as a whole, so that a crash in between changes nothing.
    """
    from flowweaver.stores.locks import StoreLock

    if read(path) is None:
        return
    lock = StoreLock(path, now=time.time())
    try:
        states = read(path)
        if states is not None:
            _replace(path, states, open_store)
    finally:
        lock.release()


def _replace(path: Path, states: OldStates, open_store: Callable[[Path], Store]) -> None:
    new = Path(f"{path}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        Path(f"{new}{suffix}").unlink(missing_ok=True)
    with closing(open_store(new)) as store:
        names = list(states)
        for first in range(0, len(names), _AT_ONCE):
            save_states(store, {name: states[name] for name in names[first : first + _AT_ONCE]})
    Path(f"{new}.lock").unlink(missing_ok=True)
    kept = _set_aside(path)
    new.replace(path)
    logger.warning(
        "%s was written by FlowWeaver 0.2: its %d states are taken over, the old file is %s", path, len(names), kept
    )


def _set_aside(path: Path) -> Path:
    """Give the file a second name, one that nothing has."""
    for number in range(1, 1000):
        kept = Path(f"{path}.old" if number == 1 else f"{path}.old{number}")
        with suppress(FileExistsError):
            os.link(path, kept)
            return kept
    raise StoreError(f"{path} can not be kept under another name: move {path}.old… somewhere else")


# ---------------------------------------------------------------------------------------------------------------- json


def read_old_json(path: Path) -> OldStates | None:
    """The states in a JSON file of 0.2; None where it is none, or there is no file.

    0.2 took a file that it could not read for an empty one, and so does this, but it keeps it.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return None  # whoever opens it will say why
    if not text or text.startswith(b'{"flowweaver": '):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        logger.error("%s has no states that can be read: it is kept under another name, and begun anew", path)
        return {}
    if all(isinstance(state, dict) and state.keys() >= _FIELDS for state in found.values()):
        return dict(_given(path, ((name, *map(state.get, _ORDER)) for name, state in found.items())))
    return None


_ORDER = ("status", "result", "error", "timestamp")


# -------------------------------------------------------------------------------------------------------------- sqlite


def read_old_sqlite(path: Path) -> OldStates | None:
    """The same for an SQLite file."""
    if not path.exists() or _says_it_is_ours(path):
        return None
    import apsw

    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            if connection.pragma("application_id") or not tables:
                return None
            if tables != [("task_states",)]:
                raise StoreError(f"{path} is an SQLite file of another program: name another file")
            rows = connection.execute("SELECT task_name, status, result, error, timestamp FROM task_states").fetchall()
    except apsw.Error:
        return None  # whoever opens it will say why
    return dict(
        _given(
            path,
            (
                (name, status, None if result is None else json.loads(str(result)), error, timestamp)
                for name, status, result, error, timestamp in rows
            ),
        )
    )


def _says_it_is_ours(path: Path) -> bool:
    """Whether the header of an SQLite file names this program. A new one says so with its first checkpoint; to open
    the file costs much more, because what a killed process has left in its log is brought into it then.
    """
    from flowweaver.stores.migrations import APPLICATION_ID

    try:
        with path.open("rb") as file:
            return file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")  # https://sqlite.org/fileformat.html
    except OSError:
        return False  # whoever opens it will say why


def _given(path: Path, states: Iterable[tuple[Any, ...]]) -> Iterable[tuple[str, Given]]:
    from flowweaver.runners.results import encode_result

    for name, status, result, error, timestamp in states:
        try:
            at = datetime.fromisoformat(timestamp).timestamp()
            yield name, Given(TaskStatus[status], encode_result(result, name=f"the result of '{name}'"), error, at)
        except (KeyError, TypeError, ValueError) as exc:
            raise StoreError(
                f"{path}: the state of task '{name}' can not be taken over from FlowWeaver 0.2 "
                f"({type(exc).__name__}: {exc}): move the file away"
            ) from exc
