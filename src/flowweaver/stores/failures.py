"""What an SQLite failure means to whoever wrote: try again, open the file anew, give up, or report a bug.

This is the only place that knows SQLite's exceptions by their meaning; none of them leaves the stores.
"""

from __future__ import annotations

import os
from enum import Enum

import apsw

from flowweaver.errors import InternalError, StoreCorrupt, StoreError, StoreUnavailable
from flowweaver.stores.disks import FIXES, free_bytes


class Verdict(Enum):
    """What follows from a failure of a statement that is not COMMIT."""

    RETRY = "nothing happened, and the connection is as good as before"
    REOPEN = "nothing happened, but nothing on this connection can be trusted any more"
    CORRUPT = "the file holds what can not be true"
    BUG = "the statement was wrong"


_RETRY = (apsw.FullError, apsw.BusyError, apsw.LockedError, apsw.NoMemError, apsw.InterruptError)
_REOPEN = (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError, apsw.ProtocolError)
_CORRUPT = (apsw.CorruptError, apsw.NotADBError)


def verdict(exc: apsw.Error) -> Verdict:
    """What follows from it."""
    if isinstance(exc, _RETRY):
        return Verdict.RETRY
    if isinstance(exc, _REOPEN):
        return Verdict.REOPEN
    return Verdict.CORRUPT if isinstance(exc, _CORRUPT) else Verdict.BUG


def translated(exc: apsw.Error, path: str) -> StoreError | InternalError:
    """The error to raise from it."""
    match verdict(exc):
        case Verdict.RETRY | Verdict.REOPEN:
            kind = kind_of(exc, path)
            return StoreUnavailable(f"{path} can not be used now: {_cause(exc, kind)}", kind=kind)
        case Verdict.CORRUPT:
            return StoreCorrupt(f"{path} is damaged or no SQLite file ({_said(exc)}); restore a backup of it")
        case Verdict.BUG:
            return InternalError(f"{path}: {_said(exc)}")


def kind_of(exc: apsw.Error, path: str) -> str:
    """What is wrong, as `StoreUnavailable.kind` has it: of an I/O error the file system may know more than SQLite."""
    if isinstance(exc, apsw.FullError):
        return "full"
    if isinstance(exc, apsw.ReadOnlyError):
        return "readonly"
    if not isinstance(exc, (apsw.IOError, apsw.CantOpenError)):
        return "io"
    try:
        system = os.statvfs(os.path.dirname(path))  # noqa: PTH120 - a folder's name from SQLite's own text
    except OSError:
        return "io"
    if system.f_flag & os.ST_RDONLY:
        return "readonly"
    return "io" if free_bytes(system) else "full"


def _cause(exc: apsw.Error, kind: str) -> str:
    if kind == "full":
        return f"the disk is full ({_said(exc)}); {FIXES[kind]}"
    if kind == "readonly":
        return f"the file system is read-only ({_said(exc)}); {FIXES[kind]}"
    if isinstance(exc, (apsw.BusyError, apsw.LockedError)):
        return f"another process is writing to it ({_said(exc)}); end that process"
    return f"{_said(exc)}; {FIXES[kind]}"


def _said(exc: apsw.Error) -> str:
    code = apsw.mapping_extended_result_codes.get(getattr(exc, "extendedresult", -1))
    return f"{code}: {exc}" if code else f"{type(exc).__name__}: {exc}"
