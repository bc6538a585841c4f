"""The journal of a JSON store: lines that happened, did not happen, or may have, and never a fourth way.

After an I/O error nothing more is written or synced through it until the store has read its files again and written
them anew: the kernel reports a failed write-back once and then takes the pages for clean, so that a second sync would
say "fine" about what is lost.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from flowweaver.errors import CommitUnknown, StoreUnavailable
from flowweaver.stores.json_disk import Disk
from flowweaver.stores.json_files import journal_line, journal_of, journal_opening

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Journal:
    """Takes records, one fdatasync for each."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """The journal of the store at `path`. Until `begin` nothing can be appended."""
        self.path = path
        self.size = 0  # of what counts
        self._disk = disk
        self._descriptor = -1
        self._opening = b""
        self._checksum = 0
        self._distrusted: str | None = "it was not opened"

    def begin(self, store: str, number: int) -> None:
        """Empty it: what comes goes on from the snapshot with that number. Raises `OSError`, and is distrusted then."""
        try:
            if self._descriptor < 0:
                self._descriptor = self._disk.open(journal_of(self.path), like=self.path)
                self._disk.sync_folder(self.path.parent)
            self._disk.truncate(self._descriptor, 0)
            self._disk.sync(self._descriptor)
        except OSError as exc:
            self.distrust(exc)
            raise
        self.size = 0
        self._opening, self._checksum = journal_opening(store, number)
        self._distrusted = None

    def append(self, record: bytes) -> None:
        """Write a record and make it durable. Raises `StoreUnavailable` where nothing happened, or `CommitUnknown`."""
        self.check_usable()
        line, checksum = journal_line(record, self._checksum)
        data = line if self.size else self._opening + line
        try:
            self._disk.write(self._descriptor, data, self.size)
        except OSError as exc:
            raise self._judged(exc) from exc
        try:
            self._disk.sync(self._descriptor)
        except OSError as exc:
            self.distrust(exc)
            raise self._unknown(exc) from exc
        self.size += len(data)
        self._checksum = checksum

    def check_usable(self) -> None:
        """Raise `StoreUnavailable` where it can not be trusted any more."""
        if self._distrusted is not None:
            raise StoreUnavailable(f"{self.path} has to be opened again first: {self._distrusted}")

    @property
    def distrusted(self) -> bool:
        """Whether the store has to be opened again."""
        return self._distrusted is not None

    def distrust(self, exc: OSError) -> None:
        """Take nothing more: nobody knows what is on the disk."""
        self._distrusted = self._distrusted or f"{type(exc).__name__}: {exc}"

    def close(self) -> None:
        """Let the file go as it is."""
        self._distrusted = self._distrusted or "it is closed"
        if self._descriptor >= 0:
            with suppress(OSError):
                self._disk.close(self._descriptor)
            self._descriptor = -1

    def _judged(self, exc: OSError) -> StoreUnavailable:
        """A write has failed. A full disk leaves a torn line at most, which is taken back here or forgiven later."""
        if exc.errno not in _FULL:
            self.distrust(exc)
            return self._unknown(exc)
        try:
            self._disk.truncate(self._descriptor, self.size)
        except OSError as second:
            self.distrust(second)
        return unavailable(self.path, exc)

    def _unknown(self, exc: OSError) -> CommitUnknown:
        return CommitUnknown(f"{self.path}: the last commit may or may not have happened: {exc.strerror or exc}")


def unavailable(path: Path, exc: OSError) -> StoreUnavailable:
    """The error to raise where the disk refused, and nothing has happened."""
    said = exc.strerror or str(exc)
    if exc.errno in _FULL:
        return StoreUnavailable(
            f"{path} can not be written now: the disk is full ({said}); free some space", kind="full"
        )
    kind = "readonly" if exc.errno == errno.EROFS else "io"
    return StoreUnavailable(
        f"{path} can not be used now: {said}; look at the disk, the mount and the permissions", kind=kind
    )
