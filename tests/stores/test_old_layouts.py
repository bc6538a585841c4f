"""A file that an older version wrote is opened, and everything in it is there. The files beside this one are real."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RetryPolicy
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import Kept, NewRun, RunName
from flowweaver.stores.statements import migrations
from flowweaver.testing.stores import COMPLETED, RICH_HEAD, RICH_TASK, rich_plan

NAME = RunName("ns/w", "u", 2)


def as_written():
    """The plan as version 1 knew it: without what came later."""
    plan = rich_plan()
    a, b, outputs = plan.tasks
    return replace(plan, tasks=(a, replace(b, version="", retry=replace(b.retry, timeouts=True)), outputs))


@pytest.fixture
def store(open_store, path):
    shutil.copyfile(Path(__file__).with_name("layout-1.sqlite"), path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(1,)]
    return open_store()


def test_a_file_of_layout_1_is_brought_up_to_date_with_all_that_it_holds(store, path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(migrations()[-1].version,)]
    stored = store.find_run(NAME)
    assert (stored.plan, stored.head) == (as_written(), replace(RICH_HEAD, phase=RunPhase.FAILED))
    assert stored.tasks == (COMPLETED, RICH_TASK, TaskState())
    assert store.read_results(stored.key, [0]) == {0: b'"kept"'}
    assert (store.position().epoch, store.position().sequence) == (2, 1)


def test_a_plan_that_was_written_without_a_digest_is_recognized(store):
    same = replace(as_written(), tasks=tuple(replace(t, retry=RetryPolicy(limit=9)) for t in as_written().tasks))
    assert store.find_newest("ns/w", "u", same).plan is same
    assert store.find_newest("ns/w", "u", rich_plan()).plan == as_written()


def test_a_run_of_layout_1_can_be_replaced(store):
    old = store.find_run(NAME).key
    kept = Kept(source=old, tasks={0: 0})
    name = NAME._replace(generation=3)
    [key] = store.create_runs([NewRun(name=name, plan=rich_plan(), head=RunHead(), kept=kept)])
    assert [state.phase for state in store.read_run(key).tasks] == [TaskPhase.COMPLETED] + [TaskPhase.PENDING] * 2
    assert store.read_results(key, [0]) == {0: b'"kept"'}
    assert store.task_named("a") == (key, 0)
