"""File systems that do not say how large they are."""

from __future__ import annotations

import os
from types import SimpleNamespace

from flowweaver.stores import log_room
from flowweaver.stores.disks import require_writable


def test_a_file_system_that_says_nothing_of_its_size_is_not_taken_for_a_full_one(tmp_path, monkeypatch):
    silent = SimpleNamespace(f_blocks=0, f_bavail=0, f_frsize=4096, f_flag=0)
    monkeypatch.setattr(os, "statvfs", lambda path: silent)
    require_writable(str(tmp_path / "s.db"))
    assert log_room.pages_before_checkpoint(str(tmp_path / "s.db")) == log_room.CHECKPOINT_PAGES
