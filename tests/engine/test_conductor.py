"""What follows from what, turn by turn."""

from __future__ import annotations

import pytest

from flowweaver.core.changes import Changes
from flowweaver.core.events import (
    Completed,
    Deferred,
    DrainRequested,
    Failed,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
)
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan, TriggerRule
from flowweaver.errors import CommitUnknown, GraphError, StoreCorrupt, StoreUnavailable
from flowweaver.ports import Dependency, RunName, TaskNotice
from flowweaver.stores import MemoryStore
from tests.engine.conftest import Bench, task

BROKEN = Failed(message="it broke", error_type="ValueError")


def test_a_task_starts_when_its_own_dependencies_are_done_and_not_later(bench):
    bench.submit(task("a"), task("slow"), task("b", "a"), task("c", "b", "slow"))
    assert bench.take_started() == ["a#1", "slow#1"]
    bench.end("a")
    assert bench.take_started() == ["b#1"]
    bench.end("b")
    assert bench.take_started() == []
    bench.end("slow")
    assert bench.take_started() == ["c#1"]
    bench.end("c")
    assert bench.head().phase == "completed"


def test_a_task_that_waits_for_two_that_end_in_one_batch_starts_once(bench):
    bench.submit(task("a"), task("b"), task("c", "a", "b"))
    bench.take_started()
    bench.end("a", "b")
    assert bench.take_started() == ["c#1"]


def test_an_attempt_gets_what_it_may_know_of_its_dependencies(bench):
    bench.submit(
        task("good"), task("bad", allow_failure=True), task("c", "good", "bad", trigger_rule=TriggerRule.ALL_FINISHED)
    )
    bench.end("good", outcome=Completed(b"[0]"))
    bench.end("bad", outcome=BROKEN)
    dependencies = bench.attempts[-1].dependencies
    assert dependencies["good"] == Dependency("Completed", b"[0]", "", "", 1)
    assert dependencies["bad"] == Dependency("Failed", None, "ValueError", "it broke", 1)


def test_a_failure_starts_nothing_new_and_lets_running_attempts_end(bench):
    bench.submit(task("a"), task("b"), task("after-a", "a"), task("after-b", "b"), task("free", "b"))
    bench.end("a", outcome=BROKEN)
    bench.take_started()
    bench.end("b")
    assert bench.take_started() == []
    assert bench.phases() == {
        "a": "failed",
        "b": "completed",
        "after-a": "skipped",
        "after-b": "cancelled",
        "free": "cancelled",
    }
    assert bench.reasons()["after-b"] == "FailFast"
    assert bench.reasons()["after-a"] == "DependencyNotCompleted"
    assert (bench.head().phase, bench.head().message) == ("failed", 'task "a" failed: it broke')


def test_continue_runs_all_that_does_not_depend_on_the_failure(bench):
    bench.submit(
        task("a"), task("b"), task("x", "a"), task("y", "x"), task("z", "b"), failure_policy=FailurePolicy.CONTINUE
    )
    bench.end("a", outcome=BROKEN)
    bench.end("b")
    bench.end("z")
    assert bench.phases() == {"a": "failed", "b": "completed", "x": "skipped", "y": "skipped", "z": "completed"}
    assert bench.head().phase == "failed"


def test_an_allowed_failure_skips_what_needs_it_and_fails_nothing(bench):
    bench.submit(
        task("a", allow_failure=True), task("b", "a"), task("clean", "a", trigger_rule=TriggerRule.ALL_FINISHED)
    )
    bench.end("a", outcome=BROKEN)
    bench.end("clean")
    assert bench.phases() == {"a": "failed", "b": "skipped", "clean": "completed"}
    assert bench.head().phase == "completed"


def test_a_retry_waits_for_its_backoff(bench):
    bench.submit(task("a", retry=RetryPolicy(limit=2, delay_seconds=10)))
    bench.end("a", outcome=BROKEN)
    assert (bench.phases()["a"], bench.reasons()["a"]) == ("waiting", "Backoff")
    bench.pass_time(9.9)
    assert bench.started == ["a#1"]
    bench.pass_time(0.1)
    assert bench.started == ["a#1", "a#2"]
    bench.end("a", outcome=BROKEN)
    bench.pass_time(19.9)
    assert bench.started == ["a#1", "a#2"]
    bench.pass_time(0.1)
    bench.end("a", outcome=BROKEN)
    assert bench.head().phase == "failed"
    assert bench.states()["a"].failures == 3


def test_what_can_not_succeed_is_not_retried(bench):
    bench.submit(task("a", retry=RetryPolicy(limit=5)))
    bench.end("a", outcome=Failed(reason="ExpressionError", message="no such key", retryable=False))
    assert (bench.phases()["a"], bench.reasons()["a"]) == ("failed", "ExpressionError")


def test_a_backoff_outlives_the_process(bench):
    bench.submit(task("a", retry=RetryPolicy(limit=1, delay_seconds=100)))
    bench.end("a", outcome=BROKEN)
    bench.clock.advance(50)
    bench.open()
    assert bench.started == ["a#1"]
    bench.pass_time(50)
    assert bench.started == ["a#1", "a#2"]


def test_a_wait_is_a_row_and_outlives_the_process(bench):
    bench.submit(task("w"), task("after", "w"))
    bench.end("w", outcome=Deferred(until=bench.clock.now() + 60))
    assert bench.conductor.world.running == 0
    assert (bench.phases()["w"], bench.reasons()["w"]) == ("waiting", "Timer")
    bench.open()
    bench.pass_time(59)
    assert bench.started == ["w#1"]
    bench.pass_time(1)
    assert bench.started == ["w#1", "after#1"]
    assert bench.attempts[-1].dependencies["w"].result == b"null"


def test_a_timed_out_body_delays_its_own_retry_until_it_has_returned(bench):
    bench.submit(task("a", timeout_seconds=5, retry=RetryPolicy(limit=1, delay_seconds=1)), task("b"))
    bench.pass_time(5)
    assert (bench.phases()["a"], bench.reasons()["a"]) == ("waiting", "AttemptStillRunning")
    assert bench.conductor.world.running == 1
    bench.pass_time(100)
    assert bench.take_started() == ["a#1", "b#1"]
    bench.end("a", outcome=Completed(b'"too late"'))
    bench.turn()  # its delay was over before
    assert bench.take_started() == ["a#2"]
    bench.end("a", outcome=Completed(b'"in time"'))
    assert bench.store.read_results(1, [0]) == {0: b'"in time"'}


def test_a_timeout_without_a_retry_fails_at_once(bench):
    bench.submit(task("a", timeout_seconds=5))
    bench.pass_time(5)
    assert bench.reasons()["a"] == "Timeout"
    assert bench.head().message == 'task "a" failed: attempt 1 ran longer than its timeout of 5 s'
    bench.end("a", outcome=Completed())
    assert bench.phases()["a"] == "failed"


def test_an_attempt_that_ends_in_the_batch_of_its_timeout_counts_as_ended(bench):
    bench.submit(task("a", timeout_seconds=5))
    bench.clock.advance(6)
    bench.end("a")
    assert bench.phases()["a"] == "completed"


def test_intake_stops_while_more_bodies_are_given_up_than_there_are_workers():
    bench = Bench(workers=1)
    for run in range(4):
        bench.submit(task("a", timeout_seconds=5), run_id=str(run))
    for _ in range(3):
        bench.pass_time(5)
    assert bench.started == ["a#1", "a#1"]
    bench.end("a", run=1)
    assert len(bench.started) == 3


def test_a_workflow_timeout_interrupts_everything_and_fails(bench):
    bench.submit(task("a"), task("b", "a"), timeout_seconds=30)
    bench.pass_time(30)
    assert bench.phases() == {"a": "cancelled", "b": "cancelled"}
    assert bench.head().phase == "failed"
    assert (bench.head().reason, bench.head().message) == (
        "WorkflowTimeout",
        "the workflow ran longer than its timeout of 30 s",
    )
    assert bench.executor.abandoned


def test_a_workflow_timeout_outlives_the_process(bench):
    bench.submit(task("a"), timeout_seconds=30)
    bench.open()
    bench.pass_time(30)
    assert bench.head().reason == "WorkflowTimeout"


def test_stop_cancels_what_waits_and_lets_running_attempts_end(bench):
    key = bench.submit(task("a"), task("b", "a"))
    bench.turn(ShutdownRequested(key, Shutdown.STOP))
    assert bench.phases() == {"a": "running", "b": "cancelled"}
    bench.end("a")
    assert bench.phases() == {"a": "completed", "b": "cancelled"}
    assert (bench.head().phase, bench.head().reason) == ("cancelled", "Stopped")


def test_terminate_interrupts_running_attempts_too(bench):
    key = bench.submit(task("a"), task("b", "a"))
    bench.turn(ShutdownRequested(key, Shutdown.TERMINATE))
    assert bench.phases() == {"a": "cancelled", "b": "cancelled"}
    (given_up,) = bench.executor.abandoned.values()
    assert given_up.cancellation.requested
    assert (bench.head().phase, bench.head().reason) == ("cancelled", "Terminated")


def test_nothing_starts_while_suspended_and_what_runs_goes_on(bench):
    key = bench.submit(task("a"), task("b", "a"))
    bench.turn(SettingsRequested(key, suspended=True))
    assert bench.head().phase == "suspended"
    bench.end("a")
    assert bench.started == ["a#1"]
    bench.open()
    assert bench.started == ["a#1"]
    bench.turn(SettingsRequested(key, suspended=False))
    assert bench.started == ["a#1", "b#1"]
    assert bench.head().phase == "running"


def test_a_rerun_takes_up_what_did_not_complete_and_nothing_else(bench):
    key = bench.submit(task("a"), task("b", "a"), task("c", "b"))
    bench.end("a", outcome=Completed(b'"kept"'))
    bench.end("b", outcome=BROKEN)
    assert bench.head().phase == "failed"
    bench.take_started()
    request = bench.conductor.intake.rerun(RerunRequested(key, "once"))
    bench.turn(request)
    assert bench.take_started() == ["b#2"]
    assert bench.attempts[-1].dependencies["a"].result == b'"kept"'
    bench.end("b")
    bench.end("c")
    assert bench.head().phase == "completed"
    assert bench.head().rerun_token == "once"
    assert bench.conductor.intake.rerun(RerunRequested(key, "once")) is None


def test_a_rerun_after_terminate_waits_for_the_body_that_was_given_up(bench):
    key = bench.submit(task("a"))
    bench.turn(ShutdownRequested(key, Shutdown.TERMINATE))
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "again")))
    assert bench.started == ["a#1"]
    bench.end("a")
    assert bench.started == ["a#1", "a#2"]


def test_parallelism_bounds_one_run_and_leaves_the_workers_to_others(bench):
    bench.submit(*(task(name) for name in "abcd"), parallelism=1)
    bench.submit(*(task(name) for name in "wxyz"), run_id="other")
    assert bench.take_started() == ["a#1", "w#1", "x#1", "y#1"]
    bench.end("a")
    assert bench.take_started() == ["z#1"]
    bench.end("w")
    assert bench.take_started() == ["b#1"]


def test_runs_take_turns_whatever_their_size():
    bench = Bench(workers=1)
    bench.submit(*(task(f"big{n}") for n in range(6)), run_id="big")
    bench.submit(task("small0"), task("small1"), run_id="small")
    for _ in range(5):
        bench.end(bench.started[-1].split("#")[0])
    assert [name.split("#")[0] for name in bench.started] == ["big0", "big1", "small0", "big2", "small1", "big3"]


def test_a_higher_priority_goes_first():
    bench = Bench(workers=1)
    bench.submit(task("low0"), task("low1"), run_id="low")
    bench.submit(task("high0"), task("high1"), run_id="high", priority=5)
    for _ in range(3):
        bench.end(bench.started[-1].split("#")[0])
    assert bench.started == ["low0#1", "high0#1", "high1#1", "low1#1"]


def test_an_interrupted_attempt_runs_again_and_uses_no_retry(bench):
    bench.submit(task("a"), task("b", "a"))
    bench.end("a")
    bench.open()
    assert bench.started == ["a#1", "b#1", "b#2"]
    assert (bench.states()["b"].crashes, bench.states()["b"].failures) == (1, 0)


def test_a_task_that_was_there_at_three_crashes_fails_and_the_others_complete(bench):
    bench.submit(task("killer"))
    bench.submit(task("good"), run_id="other")
    bench.open()
    bench.open()
    # Both were there twice: from now on they run one at a time.
    assert len(bench.executor.running) == 1
    bench.open()
    assert bench.reasons(1)["killer"] == "CrashLoop"
    assert bench.head(1).message == 'task "killer" failed: the process died in 3 starts of this task'
    bench.end("good")
    assert bench.head(2).phase == "completed"


def test_on_crash_fail_fails_an_interrupted_attempt(bench):
    bench.submit(task("a", on_crash=OnCrash.FAIL, retry=RetryPolicy(limit=3)))
    bench.open()
    assert bench.reasons()["a"] == "Interrupted"
    assert bench.started == ["a#1"]


def test_draining_starts_nothing_and_an_interruption_then_counts_as_no_crash(bench):
    bench.submit(task("a"), task("b"), task("c", "a"))
    bench.turn(DrainRequested())
    bench.end("a")
    assert bench.take_started() == ["a#1", "b#1"]
    bench.turn(InterruptRequested())
    assert bench.phases() == {"a": "completed", "b": "pending", "c": "pending"}
    bench.open()
    assert bench.take_started() == ["b#2", "c#1"]
    assert bench.states()["b"].crashes == 0


def test_a_run_is_submitted_once(bench):
    first = bench.submit(task("a"))
    assert bench.submit(task("a"), task("b")) == first
    assert bench.started == ["a#1"]


def test_a_plan_with_a_cycle_is_not_recorded(bench):
    with pytest.raises(GraphError, match="a -> b -> a"):
        bench.submit(task("a", "b"), task("b", "a"))
    assert bench.store.find_run(RunName("w", "r")) is None


def test_a_large_submission_is_written_in_pieces_and_stalls_nobody():
    bench = Bench(workers=2)
    bench.submit(task("small"), task("next", "small"), run_id="small")
    bench.conductor.submit(RunName("w", "large"), plan_of(3500))
    bench.conductor.turn(())
    assert bench.conductor.has_work
    bench.conductor.turn((bench.executor.end(bench.attempt("small"), Completed()),))
    assert bench.started == ["small#1", "next#1"]
    bench.turn()
    assert bench.started == ["small#1", "next#1", "t0#1"]


def test_a_submission_that_was_cut_off_by_a_crash_is_finished():
    bench = Bench()
    key = bench.conductor.submit(RunName("w", "large"), plan_of(3500))
    bench.conductor.turn(())
    bench.open()
    bench.turn()
    assert bench.phases(key)["t3499"] == "pending"
    assert bench.started[-1] == "t0#1"


def plan_of(size: int) -> RunPlan:
    return RunPlan(tasks=(task("t0"), *(task(f"t{n}", "t0") for n in range(1, size))))


def test_listeners_hear_of_each_step_after_it_is_durable(bench):
    bench.submit(task("a"))
    bench.end("a")
    steps = [(str(n.before.phase), str(n.state.phase)) for n in bench.notices if isinstance(n, TaskNotice)]
    assert steps == [("pending", "running"), ("running", "completed")]


def test_a_listener_that_raises_changes_nothing(bench, caplog):
    def broken(_notices):
        raise ValueError("mine")

    bench.conductor.listeners.insert(0, broken)
    bench.submit(task("a"))
    bench.end("a")
    assert bench.head().phase == "completed"
    assert "a listener failed" in caplog.text


class Failing(MemoryStore):
    """A store whose commits fail as the test says: each entry is raised once, `"after"` once the commit was written."""

    def __init__(self):
        super().__init__()
        self.failures = []
        self.reopened = 0

    def commit(self, changes: Changes, processes=()):
        failure = self.failures.pop(0) if self.failures else None
        if failure == "after":
            super().commit(changes, processes)
            raise CommitUnknown("the disk went away in COMMIT")
        if failure is not None:
            raise failure
        super().commit(changes, processes)

    def reopen(self):
        self.reopened += 1


def test_a_store_that_can_not_be_written_keeps_the_same_changes_until_it_can():
    store = Failing()
    bench = Bench(store=store)
    bench.submit(task("a"), task("b", "a"))
    store.failures = [StoreUnavailable("database or disk is full")] * 3
    seen = []
    bench.on_pause = lambda: seen.append((bench.conductor.store_error, list(bench.started)))
    bench.end("a")
    assert seen == [("database or disk is full", ["a#1"])] * 3
    assert bench.conductor.store_error == ""
    assert bench.started == ["a#1", "b#1"]


@pytest.mark.parametrize("failure", ["after", CommitUnknown("before")], ids=["it-happened", "it-did-not"])
def test_after_an_ambiguous_commit_the_store_is_asked_whether_it_happened(failure):
    store = Failing()
    bench = Bench(store=store)
    bench.submit(task("a"), task("b", "a"))
    store.failures = [failure]
    before = store.position().sequence
    bench.end("a")
    assert store.position().sequence == before + 1
    assert bench.started == ["a#1", "b#1"]
    assert store.reopened == 1


def test_a_store_that_went_back_behind_our_back_stops_the_engine():
    store = Failing()
    bench = Bench(store=store)
    bench.submit(task("a"))
    store.failures = [StoreUnavailable("I/O error")]
    store.position = lambda: type(bench.conductor.position)("x", 1, 0)
    with pytest.raises(StoreCorrupt, match="the store is at commit 0, this engine at 1"):
        bench.end("a")
