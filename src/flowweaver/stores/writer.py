"""The one connection that writes: transactions that happened, did not happen, or may have, and never a fourth way.

After an I/O error a connection is not used again, and nothing more is synced through it: the kernel reports a failed
write-back once and then takes the pages for clean, so that a second sync would say "fine" about what is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import apsw

from flowweaver.errors import CommitUnknown, StoreCorrupt, StoreUnavailable
from flowweaver.ports import StorePosition
from flowweaver.stores import migrations
from flowweaver.stores.connections import BUSY_MILLISECONDS, discard, open_writer
from flowweaver.stores.disks import require_writable
from flowweaver.stores.failures import Verdict, kind_of, translated, verdict
from flowweaver.stores.log_room import PAGE_BYTES, LogRoom, pages_before_checkpoint, settle
from flowweaver.stores.presence import Presence
from flowweaver.stores.statements import statements

GONE_SECONDS = 10.0
"""A file that was deleted, or whose volume was unmounted, may come back for so long; then it counts as lost."""

_BRING_BACK = "bring it back within seconds, or it counts as lost"
_IS_LOST = "bring it back or restore a backup; without one the next start begins with an empty store"

_T = TypeVar("_T")


class Writer:
    """Writes to one state file, from one thread at a time."""

    def __init__(self, path: str, *, vfs: str | None) -> None:
        self.path = path
        self._vfs = vfs
        self._guard = threading.RLock()
        self._note_sequence = statements()["note_sequence"]
        self._distrusted: str | None = None  # why the connection is not used any more
        self._log_pages = 0
        self._log_known = False  # whether that is how long the log is
        self._checkpoint_at = pages_before_checkpoint(path)
        self._room = LogRoom(f"{path}-wal") if vfs is None else None
        self._presence = Presence(path)
        self._gone_at = 0.0  # monotonic: when the file was first not found; 0: it was
        self._connection = self._opened(create=True)
        self._cursor = self._connection.cursor()
        self._id, self._epoch, self._sequence = self._position()

    @property
    def position(self) -> StorePosition:
        """Where the store is, as far as is known: after a failure, where it was when it was opened again."""
        return StorePosition(self._id, self._epoch, self._sequence)

    def commit(self, work: Callable[[apsw.Cursor, int], object]) -> None:
        """Let `work` write and make it durable. Raises as `ports.Store` says.

        `work` gets the number of this commit, and sees to it that the file has it: in rows of tasks, or in `meta`.
        """
        with self._guard:
            self._write(work, self._sequence + 1)
            self._sequence += 1

    def transact(self, work: Callable[[apsw.Cursor], _T]) -> _T:
        """The same for what the sequence does not count: it says which of the engine's turns were made durable."""

        def noted(cursor: apsw.Cursor, number: int) -> _T:
            outcome = work(cursor)
            cursor.execute(self._note_sequence, (number,))
            return outcome

        with self._guard:
            return self._write(noted, self._sequence)

    def _write(self, work: Callable[[apsw.Cursor, int], _T], number: int) -> _T:
        cursor = self._usable()
        self.require_presence()
        try:
            cursor.execute("BEGIN IMMEDIATE")
            if self._room is not None:
                self._room.make(self._log_pages)
            outcome = work(cursor, number)
        except apsw.Error as exc:
            raise self._rolled_back(exc) from exc
        except BaseException:
            self._undo()
            raise
        try:
            cursor.execute("COMMIT")
        except apsw.Error as exc:
            raise self._judged(exc) from exc
        if self._log_pages >= self._checkpoint_at:
            self._checkpoint_now()
        return outcome

    def look(self) -> None:
        """Raise `StoreUnavailable` where the file is not there or could not be written, `StoreCorrupt` where it stays
        away. From any thread; waits for no writer.
        """
        if gone := self._presence.gone(now=True):
            self._require_file()
            raise StoreUnavailable(f"{gone} was deleted or replaced while it was in use; {_BRING_BACK}")
        require_writable(self.path)

    def require_presence(self, *, now: bool = False) -> None:
        """Raise `StoreUnavailable` where the file that is open is not the one under its name any more. Unless `now` is
        said, it is looked at once a second.
        """
        with self._guard:
            if self._distrusted is not None or not (gone := self._presence.gone(now=now)):
                return
            if gone != self.path:  # the log: what it has, which is still open here, goes into the file
                with suppress(apsw.Error):
                    self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
            self._distrusted = f"{gone} was deleted or replaced"
            raise StoreUnavailable(f"{gone} was deleted or replaced while it was in use; {_BRING_BACK}")

    def checkpoint(self) -> None:
        """Bring the log into the main file and empty it, as far as readers allow without waiting for them."""
        with self._guard:
            self._usable()
            self._connection.set_busy_timeout(0)
            try:
                self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_TRUNCATE)
                self._log_pages = 0
                self._forget_room()
            except apsw.BusyError:
                pass  # a reader looks at it; what could be brought over has been
            except apsw.Error as exc:
                self._distrust_after_checkpoint(exc)
                raise translated(exc, self.path) from exc
            finally:
                if not self._distrusted:
                    self._connection.set_busy_timeout(BUSY_MILLISECONDS)

    def reopen(self) -> None:
        """Open the file again, without any state of the old connection. Raises `StoreUnavailable`, or `StoreCorrupt`
        where the file has lost a commit that was acknowledged, or is another one.
        """
        with self._guard:
            distrusted = self._distrusted
            self._distrusted = distrusted or "it could not be opened again"
            discard(self._connection)
            self._require_file()
            if distrusted:
                settle(self.path)
            self._forget_room()
            self._connection = self._opened(create=False)
            self._cursor = self._connection.cursor()
            self._epoch, self._sequence = self._recognized()
            self._distrusted = None

    def close(self) -> None:
        """Close; the log is brought into the main file as far as that can be done, and nothing is lost where not."""
        with self._guard:
            with suppress(StoreUnavailable):
                self.checkpoint()
            if self._distrusted is None:
                with suppress(apsw.Error):
                    self._connection.close()  # the last one to close a file takes the empty log away
            discard(self._connection)
            self._distrusted = "it is closed"

    # ------------------------------------------------------------------------------------------------------- failures

    def _usable(self) -> apsw.Cursor:
        if self._distrusted is not None:
            raise StoreUnavailable(f"{self.path} has to be opened again first: {self._distrusted}")
        return self._cursor

    def _distrust(self, exc: BaseException) -> None:
        self._distrusted = f"{type(exc).__name__}: {exc}"

    def _require_file(self) -> None:
        """Raise `StoreUnavailable` where there is no file to open, and `StoreCorrupt` where it stays away."""
        if Path(self.path).exists():
            self._gone_at = 0.0
            return
        self._gone_at = self._gone_at or time.monotonic()
        if time.monotonic() - self._gone_at >= GONE_SECONDS:
            raise StoreCorrupt(f"{self.path} was deleted, or its volume unmounted, while it was in use: {_IS_LOST}")
        raise StoreUnavailable(f"{self.path} is not there any more; {_BRING_BACK}")

    def _distrust_after_checkpoint(self, exc: apsw.Error) -> None:
        if verdict(exc) is not Verdict.RETRY:  # a full disk: the log still has everything
            self._distrust(exc)

    def _rolled_back(self, exc: apsw.Error) -> Exception:
        """Undo what a statement before COMMIT has failed in, and say what follows from it."""
        if verdict(exc) in {Verdict.REOPEN, Verdict.CORRUPT}:
            self._distrust(exc)
        else:
            self._undo()
            self._make_room(exc)
        return translated(exc, self.path)

    def _judged(self, exc: apsw.Error) -> Exception:
        """COMMIT has raised. A full disk is found before the last frame is whole, so that was no commit; what else it
        is can not be told from here.
        """
        if verdict(exc) is Verdict.RETRY:
            self._undo()
            self._make_room(exc)
            if self._distrusted is None:
                return translated(exc, self.path)
        self._distrust(exc)
        text = f"{self.path}: the last commit may or may not have happened: {exc}"
        return CommitUnknown(text, kind=kind_of(exc, self.path))

    def _undo(self) -> None:
        if self._connection.in_transaction:
            try:
                self._cursor.execute("ROLLBACK")
            except apsw.Error as exc:
                self._distrust(exc)

    # ----------------------------------------------------------------------------------------------- opening, syncing

    def _opened(self, *, create: bool) -> apsw.Connection:
        try:
            connection = open_writer(self.path, vfs=self._vfs, create=create)
        except apsw.Error as exc:
            raise translated(exc, self.path) from exc
        try:
            migrations.bring_up_to_date(connection, self.path)
            connection.set_wal_hook(self._note_log_pages)
            self._log_pages, self._log_known = 0, False
            if connection.pragma("page_size") != PAGE_BYTES:
                self._room = None
        except BaseException as exc:
            discard(connection)
            if isinstance(exc, apsw.Error):
                raise translated(exc, self.path) from exc
            raise
        self._presence.note()
        return connection

    def _recognized(self) -> tuple[int, int]:
        """The file's epoch and sequence, once it is clear that it is the same file with all that was acknowledged."""
        store_id, epoch, sequence = self._position()
        if store_id != self._id:
            raise StoreCorrupt(f"{self.path} was replaced by another store ({store_id}, it was {self._id})")
        if sequence < self._sequence:
            raise StoreCorrupt(
                f"{self.path} has lost commits: it is at {sequence}, and {self._sequence} was durable; look at the disk"
            )
        return epoch, sequence

    def begin_epoch(self) -> None:
        """A new life begins. It is a transaction, but no commit of an engine: the sequence stays."""
        try:
            self._cursor.execute(statements()["next_epoch"])
        except apsw.Error as exc:
            raise translated(exc, self.path) from exc
        self._epoch += 1

    def _position(self) -> tuple[str, int, int]:
        try:
            rows = self._cursor.execute(statements()["read_position"]).fetchall()
        except apsw.Error as exc:
            raise translated(exc, self.path) from exc
        if len(rows) != 1:
            raise StoreCorrupt(f"{self.path} does not say which store it is; restore a backup of it")
        return cast("tuple[str, int, int]", rows[0])

    def _note_log_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._log_pages:
            self._checkpoint_at = pages_before_checkpoint(self.path)  # the log was begun anew
            self._forget_room()
        self._log_pages, self._log_known = pages, True
        return apsw.SQLITE_OK

    def _forget_room(self) -> None:
        if self._room is not None:
            self._room.forget()

    def _checkpoint_now(self) -> None:
        """What was to be committed is durable already, so a failure here is one of the next call."""
        # While a reader holds the log it goes on growing; not at each commit then.
        self._checkpoint_at = self._log_pages + pages_before_checkpoint(self.path)
        try:
            self._bring_in_log()
        except apsw.Error as exc:
            self._distrust_after_checkpoint(exc)

    def _bring_in_log(self) -> None:
        """Bring the log into the main file. It stays as long as it is and is begun anew: room that nobody can take.
        Where the main file lacks room to grow, it gets what the log has beyond its last commit.
        """
        try:
            self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.FullError:
            if self._room is None or not self._log_known:
                raise
            self._room.give_back(self._log_pages)
            self._connection.wal_checkpoint("main", apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _make_room(self, exc: apsw.Error) -> None:
        """On a full disk the log may hold the very room that is missing: the next try finds what can be had."""
        if isinstance(exc, apsw.FullError) and self._distrusted is None:
            try:
                self._bring_in_log()
            except apsw.Error as error:
                self._distrust_after_checkpoint(error)
