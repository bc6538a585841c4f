"""A plan is pinned as JSON and read back as it was."""

from __future__ import annotations

import json
from dataclasses import replace

from flowweaver.core.plan import (
    FailurePolicy,
    Jitter,
    OnCrash,
    RetryPolicy,
    RunPlan,
    TaskPlan,
    TriggerRule,
    digest,
    plan_from_json,
    plan_to_text,
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
            retry=RetryPolicy(limit=3, jitter=Jitter.FULL, when="${attempt < 3}", timeouts=False),
            timeout_seconds=1.5,
            allow_failure=True,
            on_crash=OnCrash.FAIL,
            version="2",
        ),
        TaskPlan(name="(outputs)", kind="outputs", internal=True),
    ),
)


def test_a_plan_is_read_back_from_json_as_it_was():
    assert plan_from_json(json.loads(plan_to_text(PLAN))) == PLAN


def test_each_thing_is_said_once():
    def once(pairs):
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    json.loads(plan_to_text(PLAN), object_pairs_hook=once)


def test_what_is_default_is_not_written():
    plan = RunPlan(tasks=(TaskPlan(name="a", kind="call"), TaskPlan(name="b", kind="call", depends_on=("a",))))
    assert json.loads(plan_to_text(plan)) == {
        "tasks": [{"name": "a", "kind": "call"}, {"name": "b", "kind": "call", "depends_on": ["a"]}]
    }


def test_a_plan_is_read_as_the_first_version_wrote_it():
    retry = {"limit": 3, "delay_seconds": 1.0, "factor": 2.0, "max_delay_seconds": 300.0, "jitter": "Full"}
    task = {
        "name": "b",
        "kind": "http",
        "body": {"url": "u"},
        "depends_on": ["a"],
        "trigger_rule": "AllFinished",
        "retry": {**retry, "when": None},
        "timeout_seconds": 1.5,
        "allow_failure": False,
        "on_crash": "Rerun",
        "internal": False,
    }
    data = {
        "tasks": [task],
        "name": "n",
        "namespace": "",
        "uid": "",
        "params": {},
        "failure_policy": "FailFast",
        "timeout_seconds": None,
        "parallelism": None,
        "priority": 0,
        "suspended": False,
    }
    expected = TaskPlan(
        name="b",
        kind="http",
        body={"url": "u"},
        depends_on=("a",),
        trigger_rule=TriggerRule.ALL_FINISHED,
        retry=RetryPolicy(limit=3, jitter=Jitter.FULL),
        timeout_seconds=1.5,
    )
    assert plan_from_json(data) == RunPlan(name="n", tasks=(expected,))


def test_the_digest_says_whether_the_tasks_are_the_same_and_what_a_failure_means_and_nothing_of_other_policies():
    a, b, outputs = PLAN.tasks
    assert digest(PLAN) == digest(plan_from_json(json.loads(plan_to_text(PLAN))))
    same = replace(PLAN, priority=0, tasks=(a, replace(b, retry=RetryPolicy(), timeout_seconds=None), outputs))
    assert digest(same) == digest(PLAN)
    for tasks in (
        (a, replace(b, version="3"), outputs),
        (a, replace(b, depends_on=()), outputs),
        (a, replace(b, name="c"), outputs),
        (replace(a, name="a\x00"), b, outputs),
        (replace(a, allow_failure=True), b, outputs),
        (a, replace(b, allow_failure=False), outputs),
        (a, replace(b, trigger_rule=TriggerRule.ALL_COMPLETED), outputs),
        (replace(a, allow_failure=True), replace(b, allow_failure=False), outputs),
        (b, a, outputs),
        (a, b),
    ):
        assert digest(replace(PLAN, tasks=tasks)) != digest(PLAN)
