"""What of a run's work holds under another plan, whatever the two plans are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.core.revision import revise
from flowweaver.core.state import TaskState

COMPLETED = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)


@st.composite
def plans(draw):
    names = draw(st.permutations("abcdef"))[: draw(st.integers(1, 6))]
    tasks = []
    for position, name in enumerate(names):
        wanted = draw(st.lists(st.sampled_from(names[:position]), unique=True)) if position else []
        tasks.append(
            TaskPlan(name=name, kind="call", depends_on=tuple(wanted), version=draw(st.sampled_from(["", "2"])))
        )
    return RunPlan(tasks=tuple(tasks))


def below(plan: RunPlan, names: set[str]) -> set[str]:
    """Those and all that depends on them, the slow way."""
    found = set(names)
    for _ in plan.tasks:
        found |= {task.name for task in plan.tasks if found & set(task.depends_on)}
    return found


@given(plans(), plans())
def test_of_a_completed_run_everything_is_kept_that_is_not_below_a_change(old, new):
    before = {task.name: task for task in old.tasks}
    revision = revise(old, [COMPLETED] * len(old.tasks), new, new.graph())
    touched = below(
        new,
        {
            task.name
            for task in new.tasks
            if task.name not in before
            or task.version != before[task.name].version
            or set(task.depends_on) != set(before[task.name].depends_on)
        },
    )
    assert set(revision.rerun) == touched
    assert {new.tasks[ours].name for ours in revision.kept} == {task.name for task in new.tasks} - touched
    assert all(new.tasks[ours].name == old.tasks[theirs].name for ours, theirs in revision.kept.items())
    assert set(revision.removed) == before.keys() - {task.name for task in new.tasks}
    assert revision.changed == bool(touched or revision.removed)


@given(plans(), st.data())
def test_under_the_same_plan_what_completed_is_kept_and_nothing_has_changed(plan, data):
    completed = set()
    for task in plan.tasks:
        if completed.issuperset(task.depends_on) and data.draw(st.booleans()):
            completed.add(task.name)
    states = [COMPLETED if task.name in completed else TaskState() for task in plan.tasks]
    shuffled = replace(plan, tasks=tuple(data.draw(st.permutations(plan.tasks))))
    revision = revise(plan, states, shuffled, shuffled.graph())
    assert {shuffled.tasks[ours].name for ours in revision.kept} == completed
    assert (revision.changed, revision.removed) == (False, ())
