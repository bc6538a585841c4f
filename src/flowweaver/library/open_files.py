"""State files that are open in this process: each once, however many use it, and closed when the last one leaves."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowweaver.errors import StoreLocked
from flowweaver.ports import Store


@dataclass(slots=True)
class OpenFile:
    """A store, and who uses it."""

    store: Store
    users: int = 0
    engine: bool = False  # one of the users executes on it
    saved: set[str] | None = None  # names that states may have been saved for by hand; None: nobody has looked


_files: dict[Path, OpenFile] = {}  # by real path
_guard = threading.Lock()


@contextmanager
def opened(path: Path, open_store: Callable[[], Store], *, exclusive: bool) -> Iterator[OpenFile]:
    """The store of that real path: opened here, or the one that is open. `exclusive`: an engine will run on it, and
    there can be one; raises `StoreLocked`, and what `open_store` raises.
    """
    file = _enter(path, open_store, exclusive=exclusive)
    try:
        yield file
    finally:
        _leave(path, file, exclusive=exclusive)


def nothing_saved(path: Path) -> bool:
    """Whether that file is open, and known to have no state that was saved by hand."""
    file = _files.get(path)
    return file is not None and file.saved is not None and not file.saved


@contextmanager
def if_open(path: Path) -> Iterator[OpenFile | None]:
    """The store of that real path where it is open in this process."""
    with _guard:
        file = _files.get(path)
        if file is not None:
            file.users += 1
    try:
        yield file
    finally:
        if file is not None:
            _leave(path, file, exclusive=False)


def _enter(path: Path, open_store: Callable[[], Store], *, exclusive: bool) -> OpenFile:
    with _guard:
        file = _files.get(path)
        if file is None:
            file = _files[path] = OpenFile(open_store())
        elif exclusive and file.engine:
            raise StoreLocked(
                f"{path} is used by another executor of this process: share that executor, or wait for its end"
            )
        file.users += 1
        file.engine = file.engine or exclusive
        return file


def _leave(path: Path, file: OpenFile, *, exclusive: bool) -> None:
    with _guard:
        file.users -= 1
        if exclusive:
            file.engine = False
        if file.users or _files.get(path) is not file:
            return
        del _files[path]
        file.store.close()


def _after_fork_in_child() -> None:
    # What the parent has open is not the child's, and another thread of the parent may have had the guard.
    global _guard  # noqa: PLW0603 - see above
    _guard = threading.Lock()
    _files.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
