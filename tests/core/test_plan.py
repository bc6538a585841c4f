"""A plan is pinned as JSON and read back as it was."""

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
    plan_from_json,
    plan_to_json,
)

PLAN = RunPlan(
    name="etl",
    namespace="data",
    uid="u-1",
    params={"day": "2026-01-01", "sizes": [1, 2]},
    failure_policy=FailurePolicy.CONTINUE,
    timeout_seconds=60.0,
    parallelism=3,
    priority=7,
    suspended=True,
    tasks=(
        TaskPlan(name="a", kind="value", body={"value": {"deep": [None, "${params.day}"]}}),
        TaskPlan(
            name="b",
            kind="http",
            depends_on=("a",),
            trigger_rule=TriggerRule.ALL_FINISHED,
            retry=RetryPolicy(limit=3, jitter=Jitter.FULL, when="${attempt < 3}"),
            timeout_seconds=1.5,
            allow_failure=True,
            on_crash=OnCrash.FAIL,
        ),
        TaskPlan(name="(outputs)", kind="outputs", internal=True),
    ),
)


def test_a_plan_is_read_back_from_json_as_it_was():
    assert plan_from_json(json.loads(json.dumps(plan_to_json(PLAN)))) == PLAN


def test_a_field_that_an_older_version_did_not_write_has_its_default():
    data = plan_to_json(PLAN)
    del data["priority"]
    del data["tasks"][1]["allow_failure"]
    plan = plan_from_json(data)
    assert plan.priority == 0
    assert plan.tasks[1].allow_failure is False
