"""Which run it is that an opening finds."""

from __future__ import annotations

import pytest

from flowweaver.core.events import Completed, InterruptRequested, Shutdown, ShutdownRequested
from flowweaver.core.graph import Graph
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import OnCrash, RunPlan
from flowweaver.core.state import TaskState
from flowweaver.errors import GraphError, WorkflowRunningError
from flowweaver.ports import Opening, RunName
from tests.engine.conftest import task
from tests.engine.opening import BROKEN, Watcher, asked, ended, opened


def test_a_run_that_is_not_there_is_created(bench):
    watcher = Watcher(bench=bench)
    opening = opened(bench, task("a"), task("b", "a"), watcher=watcher)
    assert opening == watcher.opening == Opening(1, RunName("w", "r", 1), "created")
    assert watcher.phases == ["pending", "pending"]
    assert watcher.started_before == []
    assert bench.started == ["a#1"]


def test_a_run_that_is_active_is_not_opened_again(bench):
    opened(bench, task("a"))
    with pytest.raises(WorkflowRunningError, match='workflow "w", run "r", is running'):
        opened(bench, task("a"))
    with pytest.raises(WorkflowRunningError):
        opened(bench, task("a"), fresh=True)
    assert opened(bench, task("a"), run_id="other").outcome == "created"


def test_a_run_that_is_opened_twice_at_once_is_opened_once(bench):
    wishes = [asked(bench, task("a")) for _ in range(2)]
    bench.conductor.intake.take(wishes)
    bench.turn()
    assert wishes[0].answer.result(0).outcome == "created"
    assert isinstance(wishes[1].answer.exception(0), WorkflowRunningError)
    assert bench.started == ["a#1"]


def test_a_completed_run_is_not_run_again(bench):
    opened(bench, task("a"))
    bench.end("a", outcome=Completed(b"7"))
    bench.take_started()
    watcher = Watcher()
    assert opened(bench, task("a"), watcher=watcher) == Opening(1, RunName("w", "r", 1), "completed")
    assert (bench.started, watcher.phases, watcher.told) == ([], ["completed"], ["ended completed"])


def test_a_run_that_a_crash_left_is_gone_on_with(bench):
    opened(bench, task("a"), task("b", "a"))
    bench.end("a", outcome=Completed(b"7"))
    bench.open(recover=False)
    bench.take_started()
    bench.turn()
    assert bench.take_started() == []  # nobody has asked for it yet
    assert opened(bench, task("a"), task("b", "a")) == Opening(1, RunName("w", "r", 1), "resumed")
    assert bench.take_started() == ["b#2"]
    assert bench.states()["b"].crashes == 1
    assert bench.attempts[-1].dependencies["a"].result == b"7"
    bench.end("b")
    assert bench.head().phase == "completed"


def test_what_must_not_be_repeated_after_a_crash_fails_once_and_runs_when_it_is_opened_again(bench):
    plan = RunPlan(tasks=(task("a", on_crash=OnCrash.FAIL), task("b", "a")))
    opened(bench, plan)
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, plan).outcome == "resumed"
    assert (bench.reasons()["a"], bench.take_started()) == ("Interrupted", [])
    assert opened(bench, plan).outcome == "resumed"
    assert bench.take_started() == ["a#2"]


def test_a_failed_run_is_taken_up_where_it_did_not_complete(bench):
    ended(bench)
    assert opened(bench, task("a"), task("b", "a")) == Opening(1, RunName("w", "r", 1), "resumed")
    assert bench.take_started() == ["b#2"]
    assert bench.attempts[-1].dependencies["a"].result == b'"kept"'
    bench.end("b", outcome=BROKEN)
    assert opened(bench, task("a"), task("b", "a")).outcome == "resumed"  # and again, with a token of its own
    assert bench.take_started() == ["b#3"]
    bench.end("b")
    assert bench.head().phase == "completed"


def test_a_cancelled_run_is_taken_up_too(bench):
    key = opened(bench, task("a"), task("b")).key
    bench.end("a")
    bench.turn(ShutdownRequested(key, Shutdown.TERMINATE))
    bench.executor.abandoned.clear()
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, task("a"), task("b")).outcome == "resumed"
    assert bench.take_started() == ["b#2"]


@pytest.mark.parametrize("mode", [Shutdown.STOP, None])
def test_a_crash_while_a_run_was_ending_early_does_not_end_it_when_it_is_opened_again(bench, mode):
    plan = RunPlan(tasks=(task("a"), task("b"), task("c", "b")))
    key = opened(bench, plan).key
    if mode is None:
        bench.end("a", outcome=BROKEN)
    else:
        bench.turn(ShutdownRequested(key, mode))
    assert bench.phases()["c"] == "cancelled"
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, plan).outcome == "resumed"
    assert sorted(bench.take_started()) == ["a#2", "b#2"]
    bench.end("a", "b")
    bench.end("c")
    assert bench.head().phase == "completed"


def test_an_engine_that_ends_while_a_run_is_opened_gives_up_no_attempt_of_the_process_before(bench):
    opened(bench, task("a"))
    bench.open(recover=False)
    wish = asked(bench, task("a"))
    bench.conductor.intake.take([wish])
    bench.turn(InterruptRequested())
    assert (wish.answer.result(0).outcome, bench.executor.abandoned) == ("resumed", {})
    assert (bench.phases()["a"], bench.states()["a"].crashes) == ("pending", 1)


def test_a_run_that_is_to_end_as_soon_as_it_is_opened_ends(bench):
    ended(bench)
    bench.conductor.intake.take([asked(bench, task("a"), task("b", "a"))])
    bench.turn(ShutdownRequested(1, Shutdown.STOP))
    assert (bench.head().phase, bench.take_started()) == ("cancelled", [])


def test_the_timeout_of_a_run_counts_anew_when_it_is_gone_on_with(bench):
    plan = RunPlan(tasks=(task("a"),), timeout_seconds=30)
    opened(bench, plan)
    bench.open(recover=False)
    bench.pass_time(3600)
    opened(bench, plan)
    bench.pass_time(29)
    assert bench.phases()["a"] == "running"
    bench.pass_time(1)
    assert bench.head().reason == "WorkflowTimeout"


def test_a_fresh_run_begins_anew_and_the_one_before_is_replaced(bench):
    opened(bench, task("a"), task("b", "a"))
    bench.end("a")
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, task("a"), task("b", "a"), fresh=True) == Opening(2, RunName("w", "r", 2), "created")
    assert bench.take_started() == ["a#1"]
    assert bench.phases(1) == {"a": "completed", "b": "cancelled"}
    assert (bench.head(1).phase, bench.head(1).reason) == ("cancelled", "Replaced")
    bench.open()  # as the operator does it: only the new one is left
    assert list(bench.conductor.world.runs) == [2]


def test_a_fresh_run_takes_nothing_that_is_given_where_there_was_one_before(bench):
    given = {0: (TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0), b"1")}
    opened(bench, task("a"), task("b", "a"))
    bench.open(recover=False)
    bench.take_started()
    opened(bench, task("a"), task("b", "a"), fresh=True, given=given)
    assert bench.take_started() == ["a#1"]


def test_what_is_given_to_a_new_run_counts_as_completed(bench):
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
    watcher = Watcher()
    opened(bench, task("a"), task("b", "a"), given={0: (state, b'"given"')}, watcher=watcher)
    assert (watcher.phases, bench.started) == (["completed", "pending"], ["b#1"])
    assert bench.attempts[-1].dependencies["a"].result == b'"given"'
    assert bench.states()["a"] == state


def test_a_run_to_which_everything_is_given_is_over(bench):
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
    watcher = Watcher()
    assert opened(bench, task("a"), given={0: (state, b"1")}, watcher=watcher).outcome == "created"
    assert (bench.head().phase, watcher.told, bench.started) == ("completed", ["ended completed"], [])


def test_a_run_without_tasks_is_over_at_once(bench):
    watcher = Watcher()
    opened(bench, watcher=watcher)
    assert (bench.head().phase, watcher.told) == ("completed", ["ended completed"])
    assert opened(bench).outcome == "completed"


def test_a_plan_that_is_no_dag_leaves_nothing_behind(bench):
    with pytest.raises(GraphError):
        opened(bench, task("a", "b"), task("b", "a"))
    assert list(bench.store.list_runs()) == []


def test_a_graph_that_is_there_is_not_made_again(bench, monkeypatch):
    monkeypatch.setattr(RunPlan, "graph", lambda _: pytest.fail("the graph was made again"))
    opened(bench, task("a"), task("b", "a"), graph=Graph.ordered(["a", "b"], [(), (0,)]))
    bench.end("a")
    bench.end("b")
    assert bench.head().phase == "completed"
