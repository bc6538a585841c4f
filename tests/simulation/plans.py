"""Random plans: small graphs, for what goes wrong goes wrong in small ones, with every policy that there is."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from flowweaver.core.plan import FailurePolicy, Jitter, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.records import replace

JUDGING = ("allow_failure", "trigger_rule")  # with other ones a run can not be gone on with as it is


def random_plan(random: Random) -> RunPlan:
    """Up to ten tasks in an order that says nothing of their dependencies."""
    names = [f"t{number}" for number in range(random.choice([1, 2, 3, 4, 5, 6, 8, 10]))]
    order = random.sample(names, len(names))
    tasks = {name: TaskPlan(name=name, kind="value") for name in names}
    for place, name in enumerate(order):
        tasks[name] = replace(tasks[name], depends_on=some(random, order[:place], random.choice([1, 2, 3, 5])))
    return with_policies(random, list(tasks.values()))


def random_change(random: Random, plan: RunPlan) -> RunPlan:
    """The same tasks under other policies mostly; or a few of them are other ones, or gone, or new."""
    changed = with_policies(random, tasks_changed(random, plan.tasks) if random.random() < 0.5 else plan.tasks)
    if random.random() < 0.5:
        return changed
    before = {task.name: {name: getattr(task, name) for name in JUDGING} for task in plan.tasks}
    return replace(changed, tasks=tuple(replace(task, **before.get(task.name, {})) for task in changed.tasks))


def tasks_changed(random: Random, before: Sequence[TaskPlan]) -> Sequence[TaskPlan]:
    tasks = list(before)
    if random.random() < 0.3 and len(tasks) > 1:
        gone = random.choice(tasks).name
        tasks = [
            replace(task, depends_on=tuple(name for name in task.depends_on if name != gone))
            for task in tasks
            if task.name != gone
        ]
    if random.random() < 0.3:
        names = [task.name for task in tasks]
        new = TaskPlan(name=f"n{random.randrange(1000)}", kind="value", depends_on=some(random, names, 3))
        tasks = tasks if new.name in names else [*tasks, new]
    if random.random() < 0.3:
        place = random.randrange(len(tasks))
        tasks[place] = replace(tasks[place], version=str(random.randrange(3)))
    if random.random() < 0.2:
        place = random.randrange(len(tasks))
        tasks[place] = replace(tasks[place], depends_on=tasks[place].depends_on[1:])
    if random.random() < 0.2:
        random.shuffle(tasks)
    return tasks


def some(random: Random, names: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(random.sample(names, min(len(names), random.randint(0, most))))


def with_policies(random: Random, tasks: Sequence[TaskPlan]) -> RunPlan:
    failing = random.random()  # how much the plan makes of failures
    return RunPlan(
        tasks=tuple(
            replace(
                task,
                trigger_rule=TriggerRule.ALL_FINISHED if random.random() < 0.3 else TriggerRule.ALL_COMPLETED,
                retry=random_retry(random),
                timeout_seconds=random.uniform(5.0, 40.0) if random.random() < 0.4 else None,
                allow_failure=random.random() < failing / 2,
                on_crash=OnCrash.FAIL if random.random() < 0.15 else OnCrash.RERUN,
            )
            for task in tasks
        ),
        failure_policy=FailurePolicy.FAIL_FAST if random.random() < 0.4 else FailurePolicy.CONTINUE,
        timeout_seconds=random.uniform(50.0, 400.0) if random.random() < 0.25 else None,
        parallelism=random.choice([None, None, None, 1, 2]),
        priority=random.choice([0, 0, 1, 2]),
        suspended=random.random() < 0.1,
    )


def random_retry(random: Random) -> RetryPolicy:
    return RetryPolicy(
        limit=random.choice([0, 1, 2, 4]),
        delay_seconds=random.choice([0.0, 0.5, 5.0, 20.0]),
        factor=random.choice([1.0, 2.0, 3.0]),
        max_delay_seconds=random.choice([15.0, 300.0]),
        jitter=random.choice([Jitter.NONE, Jitter.NONE, Jitter.FULL]),
        timeouts=random.random() < 0.8,
    )
