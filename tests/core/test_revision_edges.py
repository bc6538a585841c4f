"""What of a run's work holds where tasks run however the ones before them ended."""

from __future__ import annotations

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan, TriggerRule
from flowweaver.core.revision import Revision, revise
from flowweaver.core.state import TaskState

DONE = TaskState(phase=TaskPhase.COMPLETED, attempts=1, finished_at=2.0)
FAILED = TaskState(phase=TaskPhase.FAILED, attempts=1, failures=1, finished_at=2.0)
WHATEVER = TriggerRule.ALL_FINISHED


def chain(version: str = "", *rules: TriggerRule) -> RunPlan:
    """Task b after a, c after b, and d alone."""
    rules = rules or (TriggerRule.ALL_COMPLETED,) * 2
    return RunPlan(
        tasks=(
            TaskPlan(name="a", kind="call", version=version),
            TaskPlan(name="b", kind="call", depends_on=("a",), trigger_rule=rules[0]),
            TaskPlan(name="c", kind="call", depends_on=("b",), trigger_rule=rules[1]),
            TaskPlan(name="d", kind="call"),
        )
    )


def revised(old: RunPlan, states: list[TaskState], new: RunPlan) -> Revision:
    return revise(old, states, new, new.graph())


def test_nothing_below_a_change_holds_also_where_it_runs_whatever_came_before():
    old, new = chain("", WHATEVER, WHATEVER), chain("2", WHATEVER, WHATEVER)
    assert revised(old, [DONE] * 4, new) == Revision({3: 3}, ("a", "b", "c"), (), changed=True)


def test_what_completed_after_a_failure_holds_while_the_failed_task_runs_again():
    plan = chain("", WHATEVER, TriggerRule.ALL_COMPLETED)
    assert revised(plan, [FAILED, DONE, DONE, DONE], plan) == Revision({1: 1, 2: 2, 3: 3}, ("a",), (), changed=False)


def test_what_needs_what_did_not_complete_does_not_hold():
    plan = chain()
    assert revised(plan, [FAILED, DONE, DONE, DONE], plan) == Revision({3: 3}, ("a", "b", "c"), (), changed=False)


def test_a_task_that_is_gone_is_a_change_and_takes_with_it_what_needed_it():
    new = RunPlan(tasks=(TaskPlan(name="d", kind="call"), TaskPlan(name="a", kind="call")))
    assert revised(chain(), [DONE] * 4, new) == Revision({0: 3, 1: 0}, (), ("b", "c"), changed=True)


def test_a_task_that_is_new_is_to_run():
    new = RunPlan(tasks=(*chain().tasks, TaskPlan(name="e", kind="call", depends_on=("d",))))
    assert revised(chain(), [DONE] * 4, new) == Revision({0: 0, 1: 1, 2: 2, 3: 3}, ("e",), (), changed=True)
