"""A plan that comes back from JSON has the very words that the core compares by identity."""

from __future__ import annotations

import json

from flowweaver.core.plan import (
    FailurePolicy,
    Jitter,
    OnCrash,
    RetryPolicy,
    RunPlan,
    TaskPlan,
    TriggerRule,
    plan_from_text,
    plan_to_text,
)


def read_back(plan: RunPlan) -> RunPlan:
    return plan_from_text(plan_to_text(plan))


def test_words_come_back_as_words_and_lists_as_tuples():
    task = TaskPlan(
        name="b",
        kind="value",
        depends_on=("a",),
        trigger_rule=TriggerRule.ALL_FINISHED,
        on_crash=OnCrash.FAIL,
        retry=RetryPolicy(jitter=Jitter.FULL),
    )
    plan = read_back(RunPlan(tasks=(TaskPlan(name="a", kind="value"), task), failure_policy=FailurePolicy.CONTINUE))
    assert plan.failure_policy is FailurePolicy.CONTINUE
    assert plan.tasks[1].trigger_rule is TriggerRule.ALL_FINISHED
    assert plan.tasks[1].on_crash is OnCrash.FAIL
    assert plan.tasks[1].retry.jitter is Jitter.FULL
    assert plan.tasks[1].depends_on == ("a",)
    assert plan.tasks[0].trigger_rule is TriggerRule.ALL_COMPLETED


def test_a_retry_policy_that_says_one_thing_says_only_that():
    task = TaskPlan(name="a", kind="value", retry=RetryPolicy(limit=2))
    assert json.loads(plan_to_text(RunPlan(tasks=(task,)))) == {
        "tasks": [{"name": "a", "kind": "value", "retry": {"limit": 2}}]
    }
    assert read_back(RunPlan(tasks=(task,))).tasks == (task,)
