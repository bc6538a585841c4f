"""Finds out whether a folder is on a network file system, where a store's locks and syncs can not be relied on.

Linux alone says it, in /proc/self/mountinfo; elsewhere nothing is refused.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from flowweaver.errors import StoreError

MOUNTINFO = Path("/proc/self/mountinfo")

NETWORK_TYPES = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb2",
            "smb3",
            "smbfs",
            "ncp",
            "ncpfs",
            "afs",
            "coda",
            "ceph",
            "lustre",
            "beegfs",
            "gpfs",
        ),
        *(
            "glusterfs",
            "fuse.glusterfs",
            "fuse.ceph-fuse",
            "fuse.ceph",
            "fuse.juicefs",
            "fuse.moosefs",
            "fuse.seaweedfs",
        ),
        *(
            "fuse.s3fs",
            "fuse.s3ql",
            "fuse.goofys",
            "fuse.mountpoint-s3",
            "mountpoint-s3",
            "fuse.gcsfuse",
            "fuse.blobfuse",
        ),
        *("fuse.blobfuse2", "fuse.rclone", "fuse.sshfs", "fuse.davfs2", "davfs", "fuse.curlftpfs"),
    }
)

_ESCAPED = re.compile(r"\\([0-7]{3})")


def checked_path(path: Path) -> Path:
    """The path of a state file without links, after looking at where it is; raises `StoreError`."""
    real = Path(os.path.realpath(path))
    try:
        is_folder, is_there, is_file = real.is_dir(), real.exists(), real.is_file()
        if not real.parent.is_dir():
            raise StoreError(f"{real.parent} is no folder: make it first, or name a file in another one")
    except OSError as exc:  # a name too long, a folder that may not be entered
        raise StoreError(f"{real} can not be looked at: {exc.strerror}; name another file") from exc
    if is_folder:
        raise StoreError(f"{real} is a folder: name a file in it")
    if is_there and not is_file:
        raise StoreError(f"{real} is no usual file but a device, pipe or socket: name another one")
    refuse_network(real.parent)
    return real


def refuse_network(folder: Path, mountinfo: str | None = None) -> None:
    """Raise `StoreError` where `folder`, an absolute path without links, is on a network file system.

    `mountinfo` is the text of that file, see proc(5); None: this process's own.
    """
    if mountinfo is None:
        try:
            mountinfo = MOUNTINFO.read_text("utf-8", "surrogateescape")
        except OSError:
            return
    kind = filesystem_of(folder, mountinfo)
    if kind in NETWORK_TYPES:
        raise StoreError(
            f'{folder} is on a network file system of type "{kind}": SQLite needs shared memory and file '
            f"locks that do not work there, and the file would be damaged. Use a local disk or a block volume (in "
            f"Kubernetes: a ReadWriteOnce claim of a storage class for block devices)"
        )


def filesystem_of(folder: Path, mountinfo: str) -> str:
    """The type of the file system that `folder` is on; "" where no mount point is above it."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5 or not rest:  # proc(5): the mount point is the fifth
            continue
        mount_point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), columns[4]))
        depth = len(mount_point.parts)
        if depth >= best and folder.is_relative_to(mount_point):  # `>=`: of two mounts on one point the later one shows
            best, kind = depth, rest.split(" ")[0]
    return kind
