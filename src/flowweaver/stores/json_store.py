"""A store that a person can read: one JSON file, and a journal beside it that takes each commit with one fdatasync.

The file is the whole of the store at some moment, written anew when the journal has outgrown it, so that a commit costs
the same however much there is, and at a checkpoint and the end. All runs are held in memory; one that has finished
takes the room of its text.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from flowweaver.core.changes import Changes
from flowweaver.core.plan import RunPlan, digest, plan_to_text
from flowweaver.core.state import RunHead
from flowweaver.errors import StoreCorrupt, StoreError, StoreUnavailable
from flowweaver.ports import ChildProcess, Clock, Kept, NewRun, RunName
from flowweaver.stores.filesystems import checked_path
from flowweaver.stores.json_contents import (
    Commit,
    Contents,
    Creation,
    Creations,
    Deletion,
    EpochBegun,
    Operation,
)
from flowweaver.stores.json_disk import Disk, write_file
from flowweaver.stores.json_files import journal_of, read_files, snapshot_text
from flowweaver.stores.json_journal import Journal, unavailable
from flowweaver.stores.json_reading import JSONReading
from flowweaver.stores.json_records import record_of
from flowweaver.stores.locks import StoreLock
from flowweaver.stores.texts import storable, storable_changes, storable_head, storable_name, storable_task

logger = logging.getLogger(__name__)

LEAST_JOURNAL_BYTES = 1 << 20
"""A journal smaller than this is not worth writing the file anew; from there on, one that is as big as the file."""


class JSONStore(JSONReading):
    """`ports.Store` in a JSON file. Beside it stand `…-journal`, `…-new` for a moment, and `….lock`."""

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock, disk: Disk | None = None) -> None:
        """Open the file, or make it; take its lock, bring what the journal has into it, begin a new epoch.

        `disk` is for tests; None: the real one. Raises `StoreLocked`, `StoreTooNew`, `StoreCorrupt`,
        `StoreUnavailable`, or `StoreError` where it can not be used at all.
        """
        self.path = checked_path(Path(path))
        self._disk = disk or Disk()
        self._writing = threading.RLock()
        self._closed = False
        self._lock = StoreLock(self.path, now=clock.now())
        self._journal = Journal(self.path, self._disk)
        try:
            contents, self._number = self._read()
            super().__init__(contents)
            contents.apply(EpochBegun(contents.epoch + 1))
            self._write_snapshot(contents)
        except BaseException:
            self._journal.close()
            self._lock.release()
            raise

    # -------------------------------------------------------------------------------------------------------- writing

    def create_run(self, name: RunName, plan: RunPlan, head: RunHead) -> int:
        """See `ports.Store`."""
        return self.create_runs([NewRun(name=name, plan=plan, head=head)])[0]

    def create_runs(self, runs: Sequence[NewRun]) -> list[int]:
        """See `ports.Store`. Raises `InternalError` where one of them is there already."""
        with self._exclusive():
            first = self._contents.newest_key + 1
            created = [_creation(key, run) for key, run in enumerate(runs, first)]
            if created:
                self._write(Creations(created))
            return [creation.key for creation in created]

    def create_tasks(self, run: int, first: int, names: Sequence[str]) -> None:
        """See `ports.Store`: a task is plainly pending without a word."""
        with self._usable():
            if names:
                self._contents.check_task(run, first + len(names) - 1)

    def commit(self, changes: Changes, processes: Sequence[ChildProcess] = ()) -> None:
        """See `ports.Store`."""
        with self._exclusive():
            try:
                self._write(Commit(changes, processes))
            except UnicodeEncodeError:
                self._write(Commit(storable_changes(changes), processes))

    def delete_run(self, run: int) -> None:
        """See `ports.Store`."""
        with self._exclusive():
            if run in self._contents.runs:
                self._write(Deletion(run))

    def _write(self, operation: Operation) -> None:
        """Make it durable, and only then true."""
        self._journal.check_usable()
        with self._guard:
            self._contents.check(operation)
        self._journal.append(record_of(operation))
        with self._guard:
            self._contents.apply(operation)
        if self._journal.size >= self._compact_at:
            self._compact_now()

    # ------------------------------------------------------------------------------------------------------- the file

    def checkpoint(self) -> None:
        """See `ports.Store`."""
        with self._exclusive():
            self._journal.check_usable()
            if self._journal.size:
                self._write_snapshot(self._contents)

    def reopen(self) -> None:
        """See `ports.Store`. Raises `StoreUnavailable`, and then can be called again, or `StoreCorrupt` where the files
        have lost a commit that was acknowledged, or are those of another store.
        """
        with self._exclusive():
            self._journal.close()
            contents, self._number = self._read(self._contents)
            # What is read back may be right in memory alone: it is written anew before anything is built on it.
            self._write_snapshot(contents)
            with self._guard:
                self._contents = contents

    def close(self) -> None:
        """See `ports.Store`. In a forked child it does nothing: the file is the parent's."""
        if self._closed or not self._lock.is_ours:
            return
        with self._writing:
            with suppress(StoreUnavailable):
                self.checkpoint()
            self._closed = True
            whole = not (self._journal.distrusted or self._journal.size)
            self._journal.close()
            if whole:
                with suppress(OSError):
                    self._disk.remove(journal_of(self.path))
            self._lock.release()

    def _read(self, before: Contents | None = None) -> tuple[Contents, int]:
        """What the files say, and the snapshot's number. `before` is what is known to be durable."""
        files = read_files(self.path)
        if files is None:
            if before is not None:
                raise StoreUnavailable(f"{self.path} is gone; bring it back, or stop and begin anew")
            return Contents(str(uuid.uuid4())), 0
        found = files.contents
        if before is not None and found.id != before.id:
            raise StoreCorrupt(f"{self.path} was replaced by another store ({found.id}, it was {before.id})")
        if before is not None and found.sequence < before.sequence:
            raise StoreCorrupt(
                f"{self.path} has lost commits: it is at {found.sequence}, and {before.sequence} was durable; look at "
                f"the disk"
            )
        return found, files.number

    def _compact_now(self) -> None:
        """What was to be written is durable already, so a failure here is one of the next call."""
        try:
            self._write_snapshot(self._contents)
        except StoreUnavailable as exc:
            self._compact_at = self._journal.size + LEAST_JOURNAL_BYTES  # not at each commit
            logger.warning("%s was not written anew, and its journal goes on growing: %s", self.path, exc)

    def _write_snapshot(self, contents: Contents) -> None:
        """Write all that there is to a file that takes the place of the old one, and empty the journal."""
        number = self._number + 1
        new = Path(f"{self.path}-new")
        texts: dict[int, bytes] = {}
        try:
            size = write_file(self._disk, new, snapshot_text(contents, number, texts), like=self.path)
        except OSError as exc:
            raise unavailable(self.path, exc) from exc
        try:
            self._disk.replace(new, self.path)
            self._disk.sync_folder(self.path.parent)
            self._journal.begin(contents.id, number)
        except OSError as exc:
            # The new file may be there, and the old journal is none of it: nothing can go on from here.
            self._journal.distrust(exc)
            raise unavailable(self.path, exc) from exc
        self._number = number
        self._compact_at = max(LEAST_JOURNAL_BYTES, size)
        with self._guard:
            for key, text in texts.items():
                contents.runs[key].rest(text)

    # ------------------------------------------------------------------------------------------------------- who it is

    def _usable(self) -> threading.RLock:
        self._check_usable()
        return self._guard

    def _exclusive(self) -> threading.RLock:
        """What is held while something is written. In a forked child nobody waits for it for ever."""
        self._check_usable()
        return self._writing

    def _check_usable(self) -> None:
        if not self._lock.is_ours:
            raise StoreError(
                f"{self.path} was opened by process {self._lock.owner}, and this is its forked child {os.getpid()}: a "
                f"store can not be shared with a child. Start the child before the store is opened, or as a new program"
            )
        if self._closed:
            raise StoreError(f"{self.path} is closed")


def _creation(key: int, run: NewRun) -> Creation:
    kept = run.kept or Kept()
    return Creation(
        key=key,
        name=storable_name(run.name),
        head=storable_head(run.head),
        plan=plan_to_text(run.plan),
        digest=digest(run.plan).hex(),
        names=tuple(storable(task.name) for task in run.plan.tasks),
        source=kept.source,
        kept=dict(kept.tasks),
        given={position: (storable_task(state), result) for position, (state, result) in kept.given.items()},
    )
