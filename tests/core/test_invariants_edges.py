"""Each invariant that does not hold is said, with its numbers; and nothing else is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import pytest

from flowweaver.core.apply import admit, open_run
from flowweaver.core.invariants import violations
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, RunState, TaskState, World

DONE = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
FAILED = TaskState(phase=TaskPhase.FAILED, attempts=1, failures=1, started_at=1.0, finished_at=2.0)
RUNNING = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0)
WAITING = TaskState(phase=TaskPhase.WAITING, attempts=1, failures=1, started_at=1.0, not_before=5.0)
PLAN = RunPlan(
    tasks=(
        TaskPlan(name="a", kind="value", retry=RetryPolicy(limit=1)),
        TaskPlan(name="b", kind="value", depends_on=("a",), retry=RetryPolicy(limit=1)),
        TaskPlan(name="c", kind="value", depends_on=("a",), trigger_rule=TriggerRule.ALL_FINISHED),
        TaskPlan(name="d", kind="value"),
    )
)


def world_of(*tasks: TaskState, plan: RunPlan = PLAN, workers: int = 2, head: RunHead | None = None) -> World:
    """One run, key 1, whose first tasks stand as told."""
    world = World(workers=workers)
    states = [*tasks, *[TaskState()] * (len(plan.tasks) - len(tasks))]
    admit(world, open_run(key=1, name=("w", "r", 1), plan=plan, head=head or RunHead(), tasks=states))
    return world


@pytest.mark.parametrize(
    "tasks",
    [
        (),
        (RUNNING,),
        (DONE, RUNNING),
        (DONE, WAITING, DONE, RUNNING),
        (FAILED, replace(FAILED, phase=TaskPhase.SKIPPED, attempts=0, failures=0), RUNNING),
        (replace(WAITING, attempts=2, failures=1, crashes=1),),
        (replace(FAILED, attempts=2, failures=2),),
        (replace(FAILED, attempts=9, failures=3),),  # under a plan with more retries than this one
    ],
)
def test_of_what_can_be_nothing_is_said(tasks):
    assert violations(world_of(*tasks)) == []


def test_a_task_that_completed_although_what_it_came_after_runs_again_is_no_violation():
    assert violations(world_of(RUNNING, TaskState(), DONE)) == []


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ((TaskState(), RUNNING), ["is running before its", "is running though a dependency did not complete"]),
        ((TaskState(), TaskState(), RUNNING), ["is running before its"]),
        ((TaskState(), WAITING), ["is waiting before its", "is waiting though a dependency did not complete"]),
        ((TaskState(), DONE), ["is completed though a dependency did not complete"]),
        ((FAILED, RUNNING), ["is running though a dependency did not complete"]),
        ((FAILED, DONE), ["is completed though a dependency did not complete"]),
        ((replace(RUNNING, failures=1, crashes=1),), ["has 1 failures and 1 crashes in 1 attempts"]),
        ((replace(WAITING, not_before=None),), ["is waiting with not_before None"]),
        ((replace(RUNNING, not_before=5.0),), ["is running with not_before 5.0"]),
        ((replace(DONE, finished_at=None),), ["is completed with finished_at None"]),
        ((replace(RUNNING, finished_at=2.0),), ["is running with finished_at 2.0"]),
    ],
)
def test_a_task_that_can_not_stand_where_it_does_is_named(tasks, said):
    found = violations(world_of(*tasks))
    position = len(tasks) - 1
    assert len(found) == len(said), found
    for sentence, part in zip(found, said, strict=True):
        assert sentence.startswith(f'run 1, task "{PLAN.tasks[position].name}" {part}')


def test_a_sentence_says_all_of_it():
    assert violations(world_of(TaskState(), TaskState(), RUNNING)) == [
        'run 1, task "c" is running before its dependencies have finished'
    ]


def miscount(what: str, by: int) -> Callable[[World, RunState], None]:
    return lambda _, run: setattr(run, what, getattr(run, what) + by)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda world, run: setattr(world, "running", 3), "the world counts 3 running attempts, its runs have 1"),
        (lambda world, run: world.rotation.clear(), "startable runs are [(0, 1)], the rotation has []"),
        (
            lambda world, run: world.rotation.update({5: OrderedDict({1: None})}),
            "startable runs are [(0, 1)], the rotation has [(0, 1), (5, 1)]",
        ),
        (miscount("unfinished", 1), "run 1 counts 5 unfinished tasks, has 4"),
        (lambda world, run: run.unmet.__setitem__(1, 0), 'run 1, task "b" counts 0 unmet dependencies'),
        (lambda world, run: run.unmet.__setitem__(1, 2), 'run 1, task "b" counts 2 unmet dependencies'),
        (lambda world, run: run.ready.append(3), "run 1 has ready [3, 3], should have [3]"),
        (lambda world, run: run.ready.append(0), "run 1 has ready [0, 3], should have [3]"),
        (lambda world, run: run.ready.__setitem__(0, 0), "run 1 has ready [0], should have [3]"),
    ],
)
def test_a_count_that_is_wrong_is_said(damage, said):
    world = world_of(RUNNING)
    damage(world, world.runs[1])
    assert said in violations(world)


def test_of_the_tasks_that_run_the_run_and_the_world_keep_the_same_count():
    world = world_of(RUNNING)
    world.runs[1].running = 2
    assert violations(world) == [
        "run 1 counts 2 running tasks, has 1",
        "the world counts 1 running attempts, its runs have 2",
    ]


def test_more_attempts_than_workers_are_no_violation_for_workers_may_be_taken_away():
    assert violations(world_of(DONE, RUNNING, RUNNING, workers=1)) == []


def test_a_run_that_has_finished_before_its_tasks_is_said_and_one_that_goes_on_after_them():
    ended = replace(RunHead(), phase=RunPhase.COMPLETED)
    assert violations(world_of(DONE, DONE, DONE, head=ended)) == ["run 1 is completed with 1 unfinished tasks"]
    assert violations(world_of(DONE, DONE, DONE, DONE)) == ["run 1 is pending with 0 unfinished tasks"]
    assert violations(world_of(DONE, DONE, DONE, DONE, head=ended)) == []


def test_what_is_ready_does_not_matter_once_nothing_starts_any_more():
    world = world_of(head=RunHead(failed_fast=True))
    assert list(world.runs[1].ready) == []
    assert violations(world) == []
