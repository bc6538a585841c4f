"""Several runs that share the workers: whose turn it is, and what one event does to another run, which is nothing."""

from __future__ import annotations

from collections import OrderedDict

from flowweaver.core.apply import admit, apply, dismiss, hold, open_run
from flowweaver.core.changes import Changes
from flowweaver.core.decide import decide
from flowweaver.core.events import (
    AttemptEnded,
    AttemptId,
    AttemptTimedOut,
    Completed,
    Event,
    Failed,
    RunAdmitted,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
    TaskDue,
)
from flowweaver.core.invariants import violations
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState, World

SUSPECT = TaskState(attempts=2, crashes=2, started_at=1.0)


def world_of(
    runs: int, *, tasks: int = 3, workers: int = 1, priority: int = 0, state: TaskState | None = None, **fields: object
) -> World:
    """Runs 1, 2, … of the same tasks that depend on nothing."""
    world = World(workers=workers)
    plan = RunPlan(tasks=tuple(TaskPlan(name=f"t{i}", kind="value", **fields) for i in range(tasks)))
    for key in range(1, runs + 1):
        head = RunHead(priority=priority)
        states = [state or TaskState()] * tasks
        admit(world, open_run(key=key, name=("w", f"{key}", 1), plan=plan, head=head, tasks=states))
    return world


def do(world: World, *events: Event, now: float = 9.0) -> Changes:
    changes = decide(world, events, now)
    apply(world, changes)
    assert violations(world) == []
    return changes


def started(changes: Changes) -> list[tuple[int, int]]:
    return [attempt[:2] for attempt, _ in changes.started]


def ends(world: World, run: int, task: int) -> AttemptEnded:
    return AttemptEnded(AttemptId(run, task, world.runs[run].tasks[task].attempts), Completed(), 9.0)


def test_runs_take_turns_however_many_tasks_they_have():
    world = world_of(3)
    order = started(do(world, RunAdmitted(1)))
    for _ in range(8):
        order += started(do(world, ends(world, *order[-1])))
    assert order == [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)]


def test_free_workers_are_dealt_out_one_by_one():
    world = world_of(2, workers=5)
    assert started(do(world, RunAdmitted(1))) == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2)]


def test_a_run_that_is_changed_keeps_its_place():
    world = world_of(3)
    do(world, RunAdmitted(1))
    do(world, SettingsRequested(2, parallelism=2))
    assert world.rotation == {0: OrderedDict({2: None, 3: None, 1: None})}
    assert started(do(world, ends(world, 1, 0))) == [(2, 0)]


def test_a_higher_priority_comes_first_and_an_empty_one_is_forgotten():
    world = world_of(2)
    do(world, RunAdmitted(1))
    do(world, SettingsRequested(2, priority=5))
    assert set(world.rotation) == {0, 5}
    assert started(do(world, ends(world, 1, 0))) == [(2, 0)]
    assert started(do(world, ends(world, 2, 0))) == [(2, 1)]
    do(world, SettingsRequested(2, priority=0))
    assert set(world.rotation) == {0}


def test_nothing_is_left_ready_in_a_run_that_ends_or_is_gone():
    world = world_of(1)
    do(world, RunAdmitted(1))
    assert list(world.runs[1].ready) == [1, 2]
    do(world, ShutdownRequested(1, Shutdown.STOP))
    assert list(world.runs[1].ready) == []
    assert world.rotation == {}
    other = world_of(2, workers=0)
    dismiss(other, 1)
    assert (set(other.runs), other.rotation) == ({2}, {0: OrderedDict({2: None})})
    dismiss(other, 2)
    assert (other.runs, other.rotation) == ({}, {})


def test_a_run_that_is_held_starts_nothing_more_and_is_given():
    world = world_of(2)
    do(world, RunAdmitted(1))
    run = world.runs[1]
    assert hold(world, 1) is run
    assert run.held
    assert set(world.rotation[0]) == {2}
    assert hold(world, 7) is None
    order = started(do(world, ends(world, 1, 0)))
    for _ in range(2):
        order += started(do(world, ends(world, *order[-1])))
    assert order == [(2, 0), (2, 1), (2, 2)]
    assert started(do(world, ends(world, 2, 2))) == []
    assert not run.startable


def test_of_suspects_one_runs_at_a_time_in_all_runs_together():
    world = world_of(2, tasks=2, workers=4, state=SUSPECT)
    assert started(do(world, RunAdmitted(1))) == [(1, 0)]
    assert world.quarantined == AttemptId(1, 0, 3)
    assert started(do(world, SettingsRequested(2, priority=0))) == []
    assert started(do(world, SettingsRequested(1, parallelism=4))) == []  # another task of that run, and no end of it
    assert world.quarantined == AttemptId(1, 0, 3)
    first = do(world, ends(world, 1, 0))
    assert started(first) == [(2, 0)]
    assert world.quarantined == AttemptId(2, 0, 3)
    assert started(do(world, ends(world, 2, 0))) == [(1, 1)]
    assert started(do(world, ends(world, 1, 1))) == [(2, 1)]
    do(world, ends(world, 2, 1))
    assert world.quarantined is None


def test_another_task_that_ends_frees_no_suspect():
    world = world_of(2, tasks=2, workers=4)
    for key in (1, 2):
        run = world.runs[key]
        run.tasks[0] = SUSPECT
    assert sorted(started(do(world, RunAdmitted(1)))) == [(1, 0), (1, 1), (2, 1)]
    assert started(do(world, ends(world, 1, 1))) == []
    assert world.quarantined == AttemptId(1, 0, 3)
    assert started(do(world, ends(world, 2, 1))) == []
    assert world.quarantined == AttemptId(1, 0, 3)
    assert started(do(world, ends(world, 1, 0))) == [(2, 0)]


def test_a_suspect_that_waits_for_its_retry_lets_the_next_one_start():
    world = world_of(1, tasks=2, workers=2, state=SUSPECT, timeout_seconds=5.0, retry=RetryPolicy(limit=1))
    do(world, RunAdmitted(1))
    assert started(do(world, AttemptTimedOut(AttemptId(1, 0, 3)))) == [(1, 1)]
    assert world.runs[1].tasks[0].phase is TaskPhase.WAITING


def test_a_suspect_that_waits_is_no_longer_the_one_that_runs():
    world = world_of(1, tasks=1, state=SUSPECT, retry=RetryPolicy(limit=1))
    do(world, RunAdmitted(1))
    do(world, AttemptEnded(AttemptId(1, 0, 3), Failed(), 9.0))
    assert world.runs[1].tasks[0].phase is TaskPhase.WAITING
    assert world.quarantined is None


def test_the_same_task_of_another_run_frees_no_suspect():
    world = world_of(2, tasks=2, workers=4)
    world.runs[1].tasks[0] = world.runs[2].tasks[1] = SUSPECT
    assert sorted(started(do(world, RunAdmitted(1)))) == [(1, 0), (1, 1), (2, 0)]
    assert started(do(world, ends(world, 2, 0))) == []
    assert world.quarantined == AttemptId(1, 0, 3)


def test_what_comes_too_late_is_dropped():
    world = world_of(1)
    do(world, RunAdmitted(1))
    before = world.runs[1].tasks[:]
    for late in (
        AttemptEnded(AttemptId(1, 0, 7), Completed(), 9.0),
        AttemptEnded(AttemptId(1, 1, 0), Completed(), 9.0),
        AttemptEnded(AttemptId(5, 0, 1), Completed(), 9.0),
        AttemptTimedOut(AttemptId(1, 0, 7)),
        AttemptTimedOut(AttemptId(5, 0, 1)),
        TaskDue(5, 0),
        ShutdownRequested(5, Shutdown.STOP),
    ):
        assert not do(world, late)
    assert world.runs[1].tasks == before


def test_a_body_that_nobody_waited_for_is_forgotten_when_it_returns_also_when_its_run_is():
    world = world_of(1)
    world.abandoned = {AttemptId(5, 0, 1), AttemptId(5, 1, 1)}
    assert do(world, RunAdmitted(1)).started == []  # more of them than workers
    assert started(do(world, AttemptEnded(AttemptId(5, 0, 1), Completed(), 9.0))) == [(1, 0)]
    assert world.abandoned == {AttemptId(5, 1, 1)}


def test_a_run_comes_into_memory_as_it_was_left():
    plan = RunPlan(
        tasks=(
            TaskPlan(name="a", kind="value"),
            TaskPlan(name="b", kind="value", depends_on=("a", "c")),
            TaskPlan(name="c", kind="value"),
            TaskPlan(name="d", kind="value"),
        )
    )
    states = [
        TaskState(phase=TaskPhase.COMPLETED, attempts=1, finished_at=2.0),
        TaskState(),
        TaskState(phase=TaskPhase.RUNNING, attempts=1),
        TaskState(),
    ]
    run = open_run(key=4, name=("w", "r", 3), plan=plan, head=RunHead(), tasks=states)
    assert (run.key, run.workflow, run.run_id, run.generation) == (4, "w", "r", 3)
    assert (run.unmet, list(run.ready), run.running, run.unfinished) == ([0, 1, 0, 0], [3], 1, 3)
    assert run.graph == plan.graph()
    fresh = open_run(key=4, name=("w", "r", 3), plan=plan, head=RunHead(), graph=plan.graph())
    assert fresh.tasks == [TaskState()] * 4
    assert (fresh.unmet, list(fresh.ready), fresh.running, fresh.unfinished) == ([0, 2, 0, 0], [0, 2, 3], 0, 4)
    ended = replace(RunHead(), phase=RunPhase.CANCELLED)
    assert not open_run(key=4, name=("w", "r", 3), plan=plan, head=ended).ready
    world = World(workers=2)
    admit(world, run)
    admit(world, open_run(key=5, name=("w", "s", 1), plan=plan, head=RunHead(), tasks=states))
    assert world.running == 2
