"""State files in odd places."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowweaver import Task, Workflow

from .conftest import STORES


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_state_store_stays_where_it_was_made(executor_of, kind, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    store = STORES[kind](Path())
    ran = []
    for folder in (here, there):
        os.chdir(folder)
        workflow = Workflow("w")
        workflow.add_task(Task("a", lambda: ran.append(1)))
        workflow.execute(executor_of(state_store=store))
        assert store.list_task_states() == ["a"]
    assert ran == [1]
    assert not list(there.iterdir())


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_file_has_one_identity_under_all_its_names(executor_of, kind, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    ran = []
    for folder in (tmp_path / "folder", tmp_path / "link", tmp_path / "folder" / ".." / "link"):
        workflow = Workflow("w")
        workflow.add_task(Task("a", lambda: ran.append(1)))
        workflow.execute(executor_of(state_store=STORES[kind](folder)))
    assert ran == [1]
