"""A program of the library whose state file goes."""

from __future__ import annotations

import pytest

from flowweaver import SQLiteStateStore, Task, ThreadedExecutor, Workflow
from flowweaver.errors import StoreError
from flowweaver.stores import presence, writer


def test_a_program_whose_state_file_is_deleted_is_told_and_records_nothing_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(writer, "GONE_SECONDS", 0.0)
    ran = []

    def delete():
        ran.append("a")
        for found in tmp_path.glob("s.db*"):
            found.unlink()

    workflow = Workflow("w")
    workflow.add_task(Task("a", delete))
    workflow.add_task(Task("b", lambda: ran.append("b")), ["a"])
    with pytest.raises(StoreError, match="was deleted, or its volume unmounted, while it was in use"):
        ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "s.db")).execute(workflow)
    assert ran == ["a"]
    assert not (tmp_path / "s.db").exists()
