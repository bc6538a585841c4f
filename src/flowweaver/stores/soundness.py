"""Whether the pages of a state file hold together, as SQLite sees them: at a start, and now and then beside an engine.

It takes a second for half a gigabyte that is in memory. What was overwritten inside of a value is not found: SQLite has
no checksums. Reading the run finds it, mostly.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from flowweaver.errors import StoreCorrupt
from flowweaver.stores.failures import translated
from flowweaver.stores.sqlite_backups import looked_at

MOST_BYTES = 256 << 20
"""A larger file is not looked at whenever an operator starts, unless an earlier life has met damage in it."""

SAID = 3  # lines of what is wrong


def require_sound(path: Path) -> None:
    """Raise `StoreCorrupt` where pages do not hold together, and `StoreUnavailable` where it can not be told now."""
    try:
        with looked_at(path) as connection:
            found = [str(line) for (line,) in connection.execute(f"PRAGMA quick_check({SAID})")]
    except apsw.Error as exc:
        raise translated(exc, str(path)) from exc
    if found != ["ok"]:
        said = "; ".join(line for text in found for line in text.splitlines())
        raise StoreCorrupt(f"{path} is damaged ({said[:500]}); restore a backup of it")


def note_damage(path: Path, what: str) -> None:
    """Have the next start look at all of it, however large it is. Where that can not be written, it may not."""
    with suppress(OSError):
        _note(path).write_text(f"{what}\n", "utf-8")


def is_suspect(path: Path) -> bool:
    """Whether it is to be looked at before it is opened."""
    try:
        size = path.stat().st_size
        return size > 0 and (size <= MOST_BYTES or _note(path).exists())
    except OSError:
        return False  # there is none, or opening it says why not


def clear(path: Path) -> None:
    """It has been looked at, and is sound."""
    with suppress(OSError):
        _note(path).unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")
