"""What is recorded of a task and of its run, to the last field, whatever happens to them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest

from flowweaver.core.apply import admit, apply, open_run
from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged
from flowweaver.core.decide import decide
from flowweaver.core.events import (
    AttemptEnded,
    AttemptId,
    AttemptTimedOut,
    Completed,
    Deferred,
    DrainRequested,
    Event,
    Failed,
    InterruptRequested,
    Outcome,
    RerunRequested,
    RunAdmitted,
    RunDue,
    RunTakenUp,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
    TaskDue,
    WorkersRequested,
)
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState, World

BROKEN = Failed(message="it broke", error_type="OSError")
RETRIED = RetryPolicy(limit=1, delay_seconds=4.0)
RUNNING = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=5.0)
DONE = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=5.0, finished_at=6.0)
GONE = TaskState(phase=TaskPhase.FAILED, attempts=1, failures=1, reason="TaskFailed", started_at=5.0, finished_at=6.0)
UNDER_WAY = RunHead(phase=RunPhase.RUNNING, started_at=5.0)
ENDED = RunHead(phase=RunPhase.FAILED, reason="TaskFailed", message="m", started_at=5.0, finished_at=6.0)


def task(name: str, *depends_on: str, **fields: object) -> TaskPlan:
    return TaskPlan(name=name, kind="value", depends_on=depends_on, **fields)


class Core:
    """One run, key 1, and what is decided of it."""

    def __init__(
        self,
        *tasks: TaskPlan,
        head: RunHead | None = None,
        states: Sequence[TaskState] = (),
        workers: int = 2,
        **plan: object,
    ) -> None:
        self.world = World(workers=workers)
        self.plan = RunPlan(tasks=tasks, **plan)
        found = [*states, *[TaskState()] * (len(tasks) - len(states))]
        self.run = open_run(key=1, name=("w", "r", 1), plan=self.plan, head=head or RunHead(), tasks=found)
        admit(self.world, self.run)

    def do(self, *events: Event, now: float) -> Changes:
        changes = decide(self.world, events, now)
        apply(self.world, changes)
        return changes

    def ends(self, position: int, outcome: Outcome, now: float, *, ended_at: float | None = None) -> Changes:
        attempt = AttemptId(1, position, self.run.tasks[position].attempts)
        return self.do(AttemptEnded(attempt, outcome, now if ended_at is None else ended_at), now=now)


# -------------------------------------------------------------------------------------------------------- a batch


@pytest.mark.parametrize("order", list(permutations(range(5))), ids=str)
def test_what_has_ended_comes_before_what_is_asked_and_that_before_what_is_due(order):
    waiting = TaskState(phase=TaskPhase.WAITING, attempts=1, reason="Timer", not_before=50.0, started_at=5.0)
    tasks = task("runs", timeout_seconds=9.0), task("waits"), task("depends", "runs")
    head = replace(UNDER_WAY, deadline=60.0)
    core = Core(*tasks, states=(RUNNING, waiting), head=head, timeout_seconds=55.0)
    running = AttemptId(1, 0, 1)
    events = [
        AttemptEnded(running, Completed(), 99.0),
        ShutdownRequested(1, Shutdown.STOP),
        AttemptTimedOut(running),
        TaskDue(1, 1),
        RunDue(1),
    ]
    core.do(*[events[place] for place in order], now=100.0)
    assert [state.phase for state in core.run.tasks] == [TaskPhase.COMPLETED, TaskPhase.CANCELLED, TaskPhase.CANCELLED]
    assert (core.run.head.phase, core.run.head.reason) == (RunPhase.CANCELLED, "Stopped")


# ------------------------------------------------------------------------------------------------------- attempts


def test_a_start_is_recorded_with_the_runs_start_and_deadline():
    core = Core(task("a"), task("b", "a"), timeout_seconds=60.0)
    changes = core.do(RunAdmitted(1), now=10.0)
    assert changes.started == [AttemptStarted(AttemptId(1, 0, 1), 10.0)]
    assert core.run.tasks == [TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=10.0), TaskState()]
    assert core.run.head == RunHead(phase=RunPhase.RUNNING, started_at=10.0, deadline=70.0)
    assert (changes.closed, changes.results, changes.ready, changes.unmet) == ([], [], {}, {})


def test_a_completion_is_recorded_as_of_its_end_and_what_follows_as_of_the_turn():
    core = Core(task("a"), task("b", "a"), timeout_seconds=60.0)
    core.do(RunAdmitted(1), now=10.0)
    changes = core.ends(0, Completed(b"7"), 15.0, ended_at=12.0)
    assert changes.closed == [AttemptClosed(AttemptId(1, 0, 1), "completed", 12.0)]
    assert changes.results == [ResultRecorded(1, 0, b"7")]
    assert (changes.ready, changes.unmet, changes.runs) == ({1: [1]}, {1: {1: 0}}, [])
    assert core.run.tasks == [
        TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=10.0, finished_at=12.0),
        TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=15.0),
    ]
    core.ends(1, Completed(), 20.0)
    assert core.run.head == RunHead(phase=RunPhase.COMPLETED, started_at=10.0, finished_at=20.0, deadline=70.0)


def test_a_retry_keeps_what_is_known_of_the_failure_until_its_end():
    core = Core(task("a", retry=RETRIED), task("b", "a"))
    core.do(RunAdmitted(1), now=10.0)
    changes = core.ends(0, BROKEN, 13.0, ended_at=12.0)
    closed = AttemptClosed(AttemptId(1, 0, 1), "failed", 12.0, "TaskFailed", "it broke", "OSError")
    assert changes.closed == [closed]
    waiting = TaskState(
        phase=TaskPhase.WAITING,
        attempts=1,
        failures=1,
        reason="Backoff",
        message="it broke",
        error_type="OSError",
        not_before=16.0,
        started_at=10.0,
    )
    assert core.run.tasks[0] == waiting
    assert not core.do(TaskDue(1, 0), now=15.9)
    assert core.run.tasks[0] == waiting
    core.do(TaskDue(1, 0), now=16.0)
    again = TaskState(phase=TaskPhase.RUNNING, attempts=2, failures=1, error_type="OSError", started_at=10.0)
    assert core.run.tasks[0] == again
    assert not core.do(TaskDue(1, 0), now=17.0)
    core.ends(0, Completed(), 18.0)
    done = TaskState(phase=TaskPhase.COMPLETED, attempts=2, failures=1, started_at=10.0, finished_at=18.0)
    assert core.run.tasks[0] == done


def test_the_end_of_a_task_that_failed_says_all_and_so_does_the_run():
    core = Core(task("a"), task("b", "a"), task("c"), task("d", "c"))
    core.do(RunAdmitted(1), now=10.0)
    core.ends(0, BROKEN, 13.0, ended_at=12.0)
    assert core.run.tasks[0] == TaskState(
        phase=TaskPhase.FAILED,
        attempts=1,
        failures=1,
        reason="TaskFailed",
        message="it broke",
        error_type="OSError",
        started_at=10.0,
        finished_at=12.0,
    )
    assert core.run.tasks[1] == TaskState(
        phase=TaskPhase.SKIPPED, reason="DependencyNotCompleted", message='"a" did not complete', finished_at=13.0
    )
    assert core.run.tasks[3] == TaskState(phase=TaskPhase.CANCELLED, reason="FailFast", finished_at=13.0)
    known = RunHead(
        phase=RunPhase.RUNNING,
        reason="TaskFailed",
        message='task "a" failed: it broke',
        started_at=10.0,
        failed_fast=True,
    )
    assert core.run.head == known
    core.ends(2, Failed(reason="ResultTooLarge", message="too much", retryable=False), 14.0)
    assert core.run.head == replace(known, phase=RunPhase.FAILED, finished_at=14.0)


def test_a_failure_after_a_stop_stops_nothing_more():
    core = Core(task("a"), task("b", "a"))
    core.do(RunAdmitted(1), now=10.0)
    core.do(ShutdownRequested(1, Shutdown.STOP), now=11.0)
    core.ends(0, BROKEN, 12.0)
    assert (core.run.head.phase, core.run.head.failed_fast) == (RunPhase.FAILED, False)


def test_a_timeout_is_recorded_and_a_retry_waits_for_its_body():
    core = Core(task("a", retry=RETRIED, timeout_seconds=2.5))
    core.do(RunAdmitted(1), now=10.0)
    attempt = AttemptId(1, 0, 1)
    changes = core.do(AttemptTimedOut(attempt), now=13.0)
    message = "attempt 1 ran longer than its timeout of 2.5 s"
    assert changes.closed == [AttemptClosed(attempt, "timed_out", 13.0, "Timeout", message, "Timeout")]
    assert changes.abandoned == [attempt]
    waiting = core.run.tasks[0]
    assert waiting == TaskState(
        phase=TaskPhase.WAITING,
        attempts=1,
        failures=1,
        reason="AttemptStillRunning",
        message=message,
        error_type="Timeout",
        not_before=17.0,
        started_at=10.0,
    )
    core.do(AttemptEnded(attempt, Completed(), 14.0), now=14.0)
    assert core.run.tasks[0] == replace(waiting, reason="Backoff")


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_is_taken_up_waits_for_a_body_that_is_still_there(there):
    waiting = TaskState(
        phase=TaskPhase.WAITING, attempts=2, reason="AttemptStillRunning", not_before=9.0, started_at=5.0
    )
    core = Core(task("a"), states=[waiting], head=UNDER_WAY)
    core.world.abandoned |= {AttemptId(1, 0, 2)} if there else set()
    core.do(RunTakenUp(1), TaskDue(1, 0), now=9.0)
    if there:
        assert core.run.tasks == [waiting]
        core.do(AttemptEnded(AttemptId(1, 0, 2), Completed(), 9.5), TaskDue(1, 0), now=9.5)
    assert (core.run.tasks[0].phase, core.run.tasks[0].attempts) == (TaskPhase.RUNNING, 3)


def test_the_return_of_an_older_body_says_nothing_of_the_newest():
    waiting = TaskState(
        phase=TaskPhase.WAITING, attempts=2, reason="AttemptStillRunning", not_before=9.0, started_at=5.0
    )
    core = Core(task("a"), states=[waiting], head=UNDER_WAY)
    core.world.abandoned |= {AttemptId(1, 0, 1), AttemptId(1, 0, 2)}
    core.do(AttemptEnded(AttemptId(1, 0, 1), Completed(), 6.0), now=6.0)
    assert core.run.tasks == [waiting]
    assert core.world.abandoned == {AttemptId(1, 0, 2)}


def test_a_task_that_is_due_at_once_completes_at_once():
    core = Core(task("a"), task("b"), workers=2)
    core.do(RunAdmitted(1), now=10.0)
    core.ends(0, Deferred(until=20.0, result=b"1"), 20.0, ended_at=19.0)
    assert core.run.tasks[0] == TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=10.0, finished_at=20.0)
    core.ends(1, Deferred(until=20.5), 20.0)
    assert core.run.tasks[1] == TaskState(
        phase=TaskPhase.WAITING, attempts=1, reason="Timer", not_before=20.5, started_at=10.0
    )
    assert core.do(TaskDue(1, 1), now=20.5).results == []
    assert core.run.tasks[1] == TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=10.0, finished_at=20.5)


# --------------------------------------------------------------------------------------------------- ends of processes


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (replace(UNDER_WAY, shutdown=Shutdown.STOP), "Stopped"),
        (replace(UNDER_WAY, shutdown=Shutdown.TERMINATE), "Terminated"),
        (replace(UNDER_WAY, failed_fast=True), "FailFast"),
    ],
)
def test_what_ran_at_a_crash_in_a_run_that_was_ending_is_cancelled(head, reason):
    core = Core(task("a"), states=[RUNNING], head=head)
    changes = core.do(RunAdmitted(1, recovered=True), now=9.0)
    assert changes.closed == [AttemptClosed(AttemptId(1, 0, 1), "crashed", 9.0)]
    assert core.run.tasks == [replace(RUNNING, phase=TaskPhase.CANCELLED, reason=reason, finished_at=9.0)]


def test_what_a_crash_must_not_repeat_has_failed_and_says_why():
    core = Core(task("a", on_crash=OnCrash.FAIL), states=[RUNNING], head=UNDER_WAY)
    core.do(RunAdmitted(1, recovered=True), now=9.0)
    message = "the process ended while an attempt was running, and onCrash says Fail"
    assert core.run.tasks == [
        replace(RUNNING, phase=TaskPhase.FAILED, reason="Interrupted", message=message, crashes=1, finished_at=9.0)
    ]
    assert core.run.head.message == f'task "a" failed: {message}'


def test_a_third_crash_says_how_many_there_were():
    core = Core(task("a"), states=[replace(RUNNING, attempts=3, crashes=2)], head=UNDER_WAY)
    core.do(RunAdmitted(1, recovered=True), now=9.0)
    assert core.run.tasks[0].reason == "CrashLoop"
    assert core.run.tasks[0].message == "the process died in 3 starts of this task"
    assert core.run.tasks[0].crashes == 3


def test_what_runs_in_a_run_that_is_new_here_is_left_alone():
    core = Core(task("a"), states=[RUNNING], head=UNDER_WAY)
    assert not core.do(RunAdmitted(1), now=9.0)


def test_an_interrupt_of_one_run_stops_no_other():
    core = Core(task("a"), task("b", "a"), states=[RUNNING], head=UNDER_WAY)
    other = open_run(key=2, name=("w", "s", 1), plan=core.plan, head=UNDER_WAY, tasks=[RUNNING, TaskState()])
    admit(core.world, other)
    changes = core.do(InterruptRequested(2), now=9.0)
    assert changes.closed == [AttemptClosed(AttemptId(2, 0, 1), "interrupted", 9.0)]
    assert changes.abandoned == [AttemptId(2, 0, 1)]
    assert not core.world.draining
    assert core.run.tasks[0] == RUNNING
    changes = core.do(InterruptRequested(), now=10.0)
    assert core.world.draining
    assert {closed.attempt.run for closed in changes.closed} == {1, 2}
    assert not core.do(InterruptRequested(3), now=11.0)


def test_nothing_starts_when_the_process_is_about_to_end():
    core = Core(task("a"))
    changes = core.do(RunAdmitted(1), DrainRequested(), now=9.0)
    assert (changes.started, changes.draining) == ([], True)
    assert not core.do(RunAdmitted(1), now=10.0)


# ---------------------------------------------------------------------------------------------------- what is asked


def test_a_setting_that_is_what_it_was_changes_nothing():
    core = Core(task("a"), workers=0)
    assert not core.do(SettingsRequested(1, priority=0, suspended=False), now=9.0)
    assert not core.do(SettingsRequested(1, clear_parallelism=True), now=9.0)


def test_a_run_that_has_not_started_is_pending_again_when_it_goes_on_and_one_that_has_runs():
    core = Core(task("a"), workers=0)
    core.do(SettingsRequested(1, suspended=True), now=9.0)
    assert core.run.head == RunHead(phase=RunPhase.SUSPENDED, suspended=True)
    core.do(SettingsRequested(1, suspended=False), now=10.0)
    assert core.run.head == RunHead(phase=RunPhase.PENDING)
    started = Core(task("a"), states=[RUNNING], head=UNDER_WAY)
    started.do(SettingsRequested(1, suspended=True, priority=3, parallelism=2), now=9.0)
    settings = {"suspended": True, "priority": 3, "parallelism": 2}
    assert started.run.head == replace(UNDER_WAY, phase=RunPhase.SUSPENDED, **settings)
    started.do(SettingsRequested(1, suspended=False), now=10.0)
    assert started.run.head == replace(UNDER_WAY, priority=3, parallelism=2)


def test_what_has_finished_can_not_be_set_or_ended():
    core = Core(task("a"), states=[GONE], head=ENDED)
    assert not core.do(SettingsRequested(1, priority=5), now=9.0)
    assert not core.do(ShutdownRequested(1, Shutdown.TERMINATE), now=9.0)
    assert not core.do(RunDue(1), now=9.0)
    assert core.run.head == ENDED


def test_to_end_a_run_twice_is_to_end_it_once_and_terminate_goes_further():
    core = Core(task("a"), task("b", "a"))
    core.do(RunAdmitted(1), now=8.0)
    core.do(ShutdownRequested(1, Shutdown.STOP), now=9.0)
    assert core.run.tasks[1] == TaskState(phase=TaskPhase.CANCELLED, reason="Stopped", finished_at=9.0)
    assert not core.do(ShutdownRequested(1, Shutdown.STOP), now=10.0)
    changes = core.do(ShutdownRequested(1, Shutdown.TERMINATE), ShutdownRequested(1, Shutdown.STOP), now=11.0)
    assert changes.closed == [AttemptClosed(AttemptId(1, 0, 1), "cancelled", 11.0)]
    assert core.run.head == RunHead(
        phase=RunPhase.CANCELLED,
        reason="Terminated",
        message="ended early by shutdown: Terminate",
        started_at=8.0,
        finished_at=11.0,
        shutdown=Shutdown.TERMINATE,
    )


def test_a_run_that_was_stopped_with_nothing_left_to_cancel_has_completed():
    core = Core(task("a"))
    core.do(RunAdmitted(1), now=8.0)
    core.do(ShutdownRequested(1, Shutdown.STOP), now=9.0)
    core.ends(0, Completed(), 10.0)
    assert (core.run.head.phase, core.run.head.reason, core.run.head.message) == (RunPhase.COMPLETED, "", "")


def test_the_end_of_a_runs_time_cancels_all_and_is_what_the_run_failed_of():
    core = Core(task("a"), task("b", "a"), timeout_seconds=2.5)
    core.do(RunAdmitted(1), now=8.0)
    assert not core.do(RunDue(1), now=10.4)
    core.do(RunDue(1), now=10.5)
    cancelled = {"phase": TaskPhase.CANCELLED, "reason": "WorkflowTimeout", "finished_at": 10.5}
    assert core.run.tasks == [TaskState(attempts=1, started_at=8.0, **cancelled), TaskState(**cancelled)]
    assert core.run.head.message == "the workflow ran longer than its timeout of 2.5 s"
    assert (core.run.head.phase, core.run.head.reason) == (RunPhase.FAILED, "WorkflowTimeout")


# ------------------------------------------------------------------------------------------------------- once more


def test_a_rerun_resets_all_but_what_completed_and_the_number_of_attempts():
    failed = replace(GONE, crashes=2, message="m", error_type="E", attempts=4)
    skipped = TaskState(phase=TaskPhase.SKIPPED, reason="DependencyNotCompleted", message="m", finished_at=6.0)
    core = Core(task("a"), task("b"), task("c", "b"), states=[DONE, failed, skipped], head=ENDED, workers=0)
    core.do(RerunRequested(1, "again"), now=9.0)
    assert core.run.tasks == [DONE, TaskState(attempts=4), TaskState()]
    assert core.run.head == RunHead(phase=RunPhase.PENDING, started_at=5.0, rerun_token="again")
    assert (list(core.run.ready), core.run.unmet) == ([1], [0, 0, 1])
    assert not core.do(RerunRequested(1, "another"), now=10.0)  # it has not finished


def test_the_same_token_is_one_rerun():
    core = Core(task("a"), states=[GONE], head=replace(ENDED, rerun_token="again"))
    assert not core.do(RerunRequested(1, "again"), now=9.0)


def test_a_rerun_of_a_suspended_run_is_suspended_and_its_timeout_counts_from_its_next_start():
    head = replace(ENDED, suspended=True, deadline=7.0, shutdown=Shutdown.STOP, failed_fast=True)
    core = Core(task("a"), states=[GONE], head=head, timeout_seconds=10.0)
    core.do(RerunRequested(1, "again"), now=9.0)
    assert core.run.head == RunHead(phase=RunPhase.SUSPENDED, suspended=True, started_at=5.0, rerun_token="again")
    core.do(SettingsRequested(1, suspended=False), now=11.0)
    assert core.run.head == RunHead(phase=RunPhase.RUNNING, started_at=5.0, rerun_token="again", deadline=21.0)


def test_of_a_completed_run_a_rerun_notes_the_token_only():
    head = RunHead(phase=RunPhase.COMPLETED, started_at=5.0, finished_at=6.0)
    core = Core(task("a"), states=[DONE], head=head)
    changes = core.do(RerunRequested(1, "again"), now=9.0)
    assert changes.tasks == []
    assert core.run.head == replace(head, rerun_token="again")


@pytest.mark.parametrize(("head", "phase"), [(UNDER_WAY, RunPhase.RUNNING), (RunHead(), RunPhase.PENDING)])
def test_a_run_that_is_taken_up_has_its_plans_settings_and_a_new_deadline(head, phase):
    before = replace(head, suspended=True, priority=9, parallelism=9, deadline=7.0)
    core = Core(task("a"), head=before, workers=0, priority=2, parallelism=3)
    core.do(RunTakenUp(1), now=9.0)
    assert core.run.head == replace(head, phase=phase, priority=2, parallelism=3)
    suspended = Core(task("a"), head=head, workers=0, suspended=True)
    suspended.do(RunTakenUp(1), now=9.0)
    assert suspended.run.head == replace(head, phase=RunPhase.SUSPENDED, suspended=True)


def test_a_failed_run_that_is_taken_up_begins_again_with_what_did_not_complete():
    core = Core(task("a"), task("b"), states=[DONE, GONE], head=ENDED, workers=0)
    core.do(RunTakenUp(1), now=9.0)
    assert core.run.tasks == [DONE, TaskState(attempts=1)]
    assert core.run.head == RunHead(phase=RunPhase.RUNNING, started_at=5.0)


def test_a_completed_run_that_is_taken_up_stays_completed():
    head = RunHead(phase=RunPhase.COMPLETED, started_at=5.0, finished_at=6.0)
    core = Core(task("a"), states=[DONE], head=head)
    changes = core.do(RunTakenUp(1), now=9.0)
    assert core.run.head == head
    assert changes.runs == [RunChanged(1, head)]  # so that it is let go of again


def test_a_run_that_was_being_stopped_is_taken_up_whole():
    head = replace(UNDER_WAY, shutdown=Shutdown.STOP)
    stopped = TaskState(phase=TaskPhase.CANCELLED, reason="Stopped", finished_at=6.0)
    core = Core(task("a"), task("b"), states=[RUNNING, stopped], head=head, workers=0)
    changes = core.do(RunTakenUp(1), now=9.0)
    assert changes.closed == [AttemptClosed(AttemptId(1, 0, 1), "crashed", 9.0)]
    assert core.run.tasks == [TaskState(attempts=1), TaskState()]
    assert core.run.head == RunHead(phase=RunPhase.RUNNING, started_at=5.0)
    assert sorted(core.run.ready) == [0, 1]


def test_what_a_crash_has_failed_for_good_stays_failed_when_the_run_is_taken_up():
    core = Core(
        task("a", on_crash=OnCrash.FAIL),
        task("b", "a", trigger_rule=TriggerRule.ALL_FINISHED),
        states=[RUNNING],
        head=UNDER_WAY,
        workers=0,
        failure_policy=FailurePolicy.CONTINUE,
    )
    core.do(RunTakenUp(1), now=9.0)
    assert [state.phase for state in core.run.tasks] == [TaskPhase.FAILED, TaskPhase.PENDING]
    assert core.run.head.rerun_token == ""
    assert list(core.run.ready) == [1]


def test_a_run_of_which_a_crash_leaves_nothing_ends_when_it_is_taken_up():
    core = Core(task("a", on_crash=OnCrash.FAIL), states=[RUNNING], head=UNDER_WAY)
    core.do(RunTakenUp(1), now=9.0)
    assert (core.run.head.phase, core.run.head.finished_at) == (RunPhase.FAILED, 9.0)


def test_nobody_waits_for_workers_that_are_not_there():
    core = Core(task("a"), task("b"), task("c"), workers=1)
    assert len(core.do(RunAdmitted(1), now=8.0).started) == 1
    assert len(core.do(WorkersRequested(1), now=9.0).started) == 1
    assert core.world.workers == 2
    core.do(WorkersRequested(-5), now=10.0)
    assert core.world.workers == 0
