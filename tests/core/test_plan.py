"""A plan is pinned as JSON and read back as it was."""

from __future__ import annotations

import json
import re

import pytest

from flowweaver.core.plan import (
    FailurePolicy,
    Jitter,
    OnCrash,
    RetryPolicy,
    RunPlan,
    TaskPlan,
    TriggerRule,
    digest,
    plan_from_text,
    plan_to_text,
)
from flowweaver.core.records import replace

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
    assert plan_from_text(plan_to_text(PLAN)) == PLAN


def test_text_that_utf_8_has_no_bytes_for_comes_back_as_it_was():
    odd = replace(PLAN, name="a\ud800b", params={"\udfff": ["\ud83d", "✓"]})
    text = plan_to_text(odd)
    assert text.isascii()
    assert plan_from_text(text) == odd


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "Expected `object`"),
        ('{"tasks": 1}', "$.tasks"),
        ('{"tasks": [{"name": "a"}]}', "`kind`"),
        ('{"tasks": [], "failure_policy": "Perhaps"}', "Perhaps"),
        ('{"name": "\\ud800", "tasks": [{"kind": "value"}]}', "`name`"),
        ('{"name": "\\ud800", "tasks": ', "Expecting value"),
    ],
)
def test_what_is_no_plan_is_said_to_be_none(text, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        plan_from_text(text)


def test_a_plan_that_says_nothing_else_is_made_of_defaults():
    plan = plan_from_text('{"tasks": []}')
    assert plan == RunPlan(tasks=())
    assert (plan.name, plan.uid, plan.traceparent, plan.timeout_seconds, plan.priority) == ("", "", "", None, 0)


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
    assert plan_from_text(json.dumps(data)) == RunPlan(name="n", tasks=(expected,))


def test_the_digest_says_whether_the_tasks_are_the_same_and_what_a_failure_means_and_nothing_of_other_policies():
    a, b, outputs = PLAN.tasks
    assert digest(PLAN) == digest(plan_from_text(plan_to_text(PLAN)))
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
