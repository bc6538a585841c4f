"""Paths of state stores that can not be: one clear error each, and nothing is made."""

from __future__ import annotations

import os

import pytest

from flowweaver import (
    ArgumentError,
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    StoreError,
    Task,
    TaskStatus,
    Workflow,
)

STORES = [JSONStateStore, SQLiteStateStore]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("path", ["", ":memory:", "state\0.db"])
def test_what_is_no_path_is_refused_with_the_fix(store, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="leave the state store out"):
        store(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", STORES)
def test_a_folder_that_can_not_be_made_is_named(store, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="folder of .*state can not be made"):
        store(tmp_path / "file" / "folder" / "state")


@pytest.mark.parametrize("store", STORES)
def test_a_name_that_is_too_long_is_refused(store, tmp_path):
    with pytest.raises(StoreError, match="File name too long"):
        store(tmp_path / ("x" * 300)).save_task_state("a", TaskStatus.COMPLETED)


@pytest.mark.parametrize("store", STORES)
def test_a_pipe_is_refused_and_not_waited_for(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    workflow = Workflow("w")
    workflow.add_task(Task("a", lambda: 1))
    with pytest.raises(StoreError, match="no usual file"):
        SequentialExecutor(state_store=store(tmp_path / "pipe")).execute(workflow)
