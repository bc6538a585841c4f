"""The two files of a JSON store, as they are read by whoever holds them and by whoever only looks.

The snapshot has everything up to some moment, the journal what came after it: `NAME-journal`. Each snapshot has a
number, and a journal begins with that of the snapshot it goes on from; one with an older number is in it already.
Each line of a journal carries a checksum that goes on from the line before, so that none can be changed, lost or moved.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowweaver.errors import InternalError, StoreCorrupt, StoreError, StoreTooNew, StoreUnavailable
from flowweaver.stores.json_contents import Contents, KeptRun
from flowweaver.stores.json_records import operation_of
from flowweaver.stores.json_text import runs_of

FORMAT = 1
"""The layout that this version writes, and the newest that it reads."""

_OPENING = b'{"flowweaver": '
_RUNS = b',\n"runs": [\n'
_CHECKSUM = b'\n],\n"checksum": "'
_ENDING = b'"}\n'
_LINE = re.compile(rb"([0-9a-f]{8}) ([0-9]{1,15}) ")
_LOOKS = 50  # so often a reader looks again when the files change under its eyes


@dataclass(slots=True)
class Files:
    """What the files of a store say."""

    contents: Contents
    number: int  # of the snapshot
    snapshot_bytes: int
    journal_bytes: int  # as far as the journal is whole and goes on from the snapshot
    journal_rest: int  # bytes after that: a torn line, or a journal that is in the snapshot already
    checksum: int  # of the last whole line


def journal_of(path: Path) -> Path:
    """Where the journal of that store is."""
    return Path(f"{path}-journal")


# ------------------------------------------------------------------------------------------------------------ snapshot


def snapshot_text(
    contents: Contents, number: int, texts: dict[int, bytes], *, backup: Mapping[str, Any] | None = None
) -> Iterator[bytes]:
    """The snapshot, piece by piece. `texts` takes the text of each run that has finished, by its key. `backup` is what
    a backup says of itself.
    """
    head: dict[str, Any] = {
        "format": FORMAT,
        "number": number,
        "id": contents.id,
        "epoch": contents.epoch,
        "sequence": contents.sequence,
        "newest_key": contents.newest_key,
    }
    if backup is not None:
        head["backup"] = dict(backup)
    checksum = 0
    for piece in _pieces(_OPENING + json.dumps(head).encode(), contents, texts):
        checksum = zlib.crc32(piece, checksum)
        yield piece
    yield b"%08x" % checksum + _ENDING


def _pieces(opening: bytes, contents: Contents, texts: dict[int, bytes]) -> Iterator[bytes]:
    yield opening + _RUNS
    for nth, run in enumerate(contents.runs.values()):
        if nth:
            yield b",\n"
        text = run.written()
        if run.head.phase.finished:
            texts[run.key] = text
        yield text
    yield _CHECKSUM


def _contents_of(path: Path, text: bytes) -> tuple[Contents, int]:
    """What a snapshot says, and its number."""
    head = opening_of(path, text)
    body, found, ending = text.rpartition(_CHECKSUM)
    if not found or ending != b"%08x" % zlib.crc32(body + found) + _ENDING:
        raise StoreCorrupt(
            f"{path} is damaged, or was changed by another program: its checksum does not fit. Restore a backup of it"
        )
    contents = Contents(head["id"], head["epoch"], head["sequence"], head["newest_key"])
    for key, name, run_head, digest, run in runs_of(body[body.index(_RUNS) + len(_RUNS) :]):
        contents.add(KeptRun(key, name, run_head, digest, None, run))
    return contents, head["number"]


def opening_of(path: Path, text: bytes) -> dict[str, Any]:
    """What a snapshot says of itself, from a text that has its first line; raises `StoreError`."""
    line, _, _ = text.partition(b"\n")
    try:
        head = json.loads(line.removesuffix(b",") + b"}")["flowweaver"]
        version = head["format"]
    except (ValueError, KeyError, TypeError) as exc:
        if text.startswith(_OPENING):
            raise StoreCorrupt(f"{path} is damaged: its first line can not be read. Restore a backup of it") from exc
        raise StoreError(f"{path} is a file of another program: name another file") from exc
    if version > FORMAT:
        raise StoreTooNew(
            f"{path} was written by a newer FlowWeaver (layout {version}, this one knows {FORMAT}): upgrade "
            f"FlowWeaver, or restore a backup that was taken before"
        )
    return head  # type: ignore[no-any-return]  # JSON


# ------------------------------------------------------------------------------------------------------------- journal


def journal_line(record: bytes, checksum: int) -> tuple[bytes, int]:
    """The line of a record that follows a line with that checksum, and the line's own."""
    checksum = zlib.crc32(record, checksum)
    return b"%08x %d %b\n" % (checksum, len(record), record), checksum


def journal_opening(store: str, number: int) -> tuple[bytes, int]:
    """The first line of a journal, and its checksum."""
    return journal_line(json.dumps({"journal": {"format": FORMAT, "id": store, "number": number}}).encode(), 0)


def _replay(path: Path, text: bytes, contents: Contents, number: int) -> tuple[int, int]:
    """Apply a journal; gives how many bytes of it count, and the checksum of the last line that does."""
    lines = _whole_lines(path, text)
    first = next(lines, None)
    if first is None or not _goes_on(path, first[0], contents.id, number):
        return 0, 0
    _, end, checksum = first
    for record, after, checksum in lines:  # noqa: B007 - the last one is given back
        start, end = end, after
        try:
            operation = operation_of(record)
            contents.check(operation)
            contents.apply(operation)
        except (ValueError, InternalError) as exc:
            raise _corrupt(path, start, f"can not follow what is before it: {exc}") from exc
    return end, checksum


def _whole_lines(path: Path, text: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each record with where its line ends and its checksum. A last line that is not whole was never acknowledged."""
    start = checksum = 0
    while start < len(text):
        found = _LINE.match(text, start)
        length = int(found[2]) if found else 0
        record = text[found.end() : found.end() + length] if found else b""
        end = found.end() + length + 1 if found else start
        checksum = zlib.crc32(record, checksum)
        if not found or found[1] != b"%08x" % checksum or text[end - 1 : end] != b"\n":
            if _more_follows(text, start, end):
                raise _corrupt(path, start, "does not fit its checksum, and it is not the last one")
            return
        yield record, end, checksum
        start = end


def _more_follows(text: bytes, start: int, end: int) -> bool:
    """Whether there is more than a line that was being written: that is the last, and not longer than it says."""
    line_break = text.find(b"\n", start) + 1
    return 0 < line_break < len(text) or start < end < len(text)


def _goes_on(path: Path, record: bytes, store: str, number: int) -> bool:
    """Whether a journal with that first record follows the snapshot of that number."""
    head = json.loads(record)["journal"]
    if head["format"] > FORMAT:
        raise StoreTooNew(f"{journal_of(path)} was written by a newer FlowWeaver: upgrade FlowWeaver")
    if head["id"] != store or head["number"] > number:
        raise StoreCorrupt(
            f"{path} and {journal_of(path)} do not belong together: one of them was replaced. Restore a backup of both"
        )
    return bool(head["number"] == number)


def _corrupt(path: Path, start: int, what: str) -> StoreCorrupt:
    return StoreCorrupt(f"{journal_of(path)} is damaged: the line at byte {start} {what}. Restore a backup")


# ------------------------------------------------------------------------------------------------------------- reading


def read_files(path: Path) -> Files | None:
    """What the files say; None where there is no store yet. Nobody may write meanwhile."""
    snapshot, journal = _bytes_of(path), _bytes_of(journal_of(path)) or b""
    if not snapshot:
        if next(_whole_lines(path, journal), None):
            raise StoreCorrupt(f"{journal_of(path)} is there, and {path} is not: restore a backup of both")
        return None
    contents, number = _contents_of(path, snapshot)
    end, checksum = _replay(path, journal, contents, number)
    return Files(contents, number, len(snapshot), end, len(journal) - end, checksum)


def look_at_files(path: Path) -> Contents | None:
    """The same for whoever does not hold the store: another process may be writing to it."""
    failure: StoreCorrupt | None = None
    for _ in range(_LOOKS):
        before = _identity(path)
        try:
            files = read_files(path)
        except StoreCorrupt as exc:
            if failure and before == _identity(path):
                raise  # twice the same: it is true
            failure = exc  # or both files were caught in the middle of a change
            time.sleep(0.002)
            continue
        if before == _identity(path):
            return files.contents if files else None
    raise failure or StoreUnavailable(f"{path} changes faster than it can be read: try again")


def _identity(path: Path) -> tuple[int, int, int] | None:
    with suppress(FileNotFoundError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreUnavailable(f"{path} can not be read: {exc.strerror}; look at the disk and the permissions") from exc
