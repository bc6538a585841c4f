"""Real file systems that fill up, break and go: mounted for one test, taken away after it.

Only root can mount. In CI a test that can not do that fails; elsewhere it is skipped and says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def command(*words: str | Path) -> str:
    """Run it; gives what it printed, and raises `OSError` with what it complained of."""
    done = subprocess.run([*map(str, words)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


class Volume:
    """A mounted file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hog = folder / "hog"

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        system = os.statvfs(self.folder)
        return system.f_bavail * system.f_frsize

    def fill(self) -> None:
        """Another file takes all the room that is left, to the last block."""
        with self.hog.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free_some(self, size: int) -> None:
        """That other file gives so many bytes back."""
        os.truncate(self.hog, max(0, self.hog.stat().st_size - size))

    def remount(self, *options: str) -> None:
        """`mount -o remount,…`; raises `OSError` where the kernel refuses."""
        command("mount", "-o", ",".join(["remount", *options]), self.folder)


class Disk(Volume):
    """An ext4 file system in a file, on a loop device: it has a page cache, a journal, and an end."""

    def __init__(self, folder: Path, image: Path) -> None:
        super().__init__(folder)
        self.image = image

    def break_down(self) -> None:
        """The kernel finds an error in the file system and lets nobody write any more, whoever has files open."""
        device = command("findmnt", "-no", "SOURCE", self.folder).splitlines()[-1]
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        """What an administrator does then, when nobody has a file open there: unmount, check, mount again."""
        command("umount", self.folder)
        subprocess.run(["fsck.ext4", "-fy", self.image], check=False, capture_output=True)
        self.mount()

    def mount(self) -> None:
        command("mount", "-o", "loop,errors=remount-ro", self.image, self.folder)


def _refuse(error: OSError) -> None:
    say = pytest.fail if os.environ.get("CI") else pytest.skip
    say(f"no file system can be mounted here (it needs root, and a kernel that allows it): {error}")


@contextmanager
def small_volume(folder: Path, size: str) -> Iterator[Volume]:
    """A tmpfs of that size ("1m")."""
    folder.mkdir()
    try:
        command("mount", "-t", "tmpfs", "-o", f"size={size}", "flowweaver-test", folder)
    except OSError as error:
        _refuse(error)
    try:
        yield Volume(folder)
    finally:
        command("umount", "--lazy", folder)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """An ext4 disk of so many bytes."""
    folder.mkdir()
    disk = Disk(folder, folder.with_suffix(".img"))
    with disk.image.open("wb") as file:
        file.truncate(size)
    try:
        command("mkfs.ext4", "-q", "-F", disk.image)
        disk.mount()
    except OSError as error:
        _refuse(error)
    try:
        yield disk
    finally:
        command("umount", "--lazy", folder)
