"""Looks at a state file of either kind, or at a backup, whoever has it; nothing is locked, nothing in it changes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flowweaver.stores.backups import Kind, kind_of

if TYPE_CHECKING:
    from flowweaver.stores.json_reading import JSONReading
    from flowweaver.stores.sqlite_look import SQLiteLook

    Look = JSONReading | SQLiteLook


@contextmanager
def looking_at(path: Path) -> Iterator[Look]:
    """Something to read that store with. A SQLite file of an older layout is not changed: a copy of it is read that was
    brought up to date. Raises `StoreError`.
    """
    if kind_of(path) is Kind.JSON:
        from flowweaver.stores.json_backups import contents_at
        from flowweaver.stores.json_reading import JSONReading

        yield JSONReading(contents_at(path))
        return
    from flowweaver.stores.sqlite_backups import looked_at
    from flowweaver.stores.sqlite_look import SQLiteLook

    with looked_at(path):
        pass  # else it is none of ours
    with closing(SQLiteLook(path)) as look:
        if not look.is_older:
            yield look
            return
    with tempfile.TemporaryDirectory(prefix="flowweaver-") as folder:
        new = Path(folder) / path.name
        _copy_up_to_date(path, new)
        with closing(SQLiteLook(new)) as look:
            yield look


def _copy_up_to_date(path: Path, new: Path) -> None:
    from flowweaver.stores.backups import require_room
    from flowweaver.stores.migrations import bring_up_to_date
    from flowweaver.stores.sqlite_backups import alone_with, copy, looked_at, size_of, told

    new.touch(0o600)
    with looked_at(path) as connection, told(path, new):
        connection.execute("BEGIN")
        require_room(new.parent, size_of(connection))
        copy(connection, new, rest=lambda _: None)
        with alone_with(new) as copied:
            bring_up_to_date(copied, str(new))
