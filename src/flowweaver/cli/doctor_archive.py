"""A report with what belongs to it in one file: a folder, packed."""

from __future__ import annotations

import io
import re
import tarfile
import time
from collections.abc import Mapping

FOLDER = "flowweaver-doctor/"
LARGEST = 64 << 20
"""In bytes, unpacked: more no report has, and whoever sends more means no good."""

_NAME = re.compile(r"[\w-]+(?:[./][\w-]+)*")


def packed(files: Mapping[str, bytes]) -> bytes:
    """The archive of files by their names."""
    now = int(time.time())
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{FOLDER}{name}")
            entry.size, entry.mtime, entry.mode = len(text), now, 0o600
            archive.addfile(entry, io.BytesIO(text))
    return content.getvalue()


def unpacked(content: bytes) -> dict[str, str]:
    """The texts of an archive by their names; raises `ValueError` where it is none. Nothing is written anywhere."""
    found: dict[str, str] = {}
    left = LARGEST
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for entry in archive:
                name = entry.name.removeprefix(FOLDER)
                file = archive.extractfile(entry) if entry.isreg() and _NAME.fullmatch(name) else None
                if file is None or entry.size > left:
                    raise ValueError(f"it holds {entry.name!r}, which no report does")
                left -= entry.size
                found[name] = file.read().decode("utf-8", "replace")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"it is no archive: {error}") from error
    return found
