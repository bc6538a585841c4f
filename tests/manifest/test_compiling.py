from __future__ import annotations

import pytest

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
from flowweaver.manifest.durations import seconds
from flowweaver.policy import Isolation, Policy
from tests.manifest.manifests import plan, value, workflow


def task(body):
    return plan(workflow({"name": "a", **body})).tasks[0]


EVERYTHING = workflow(
    {
        "name": "extract",
        "http": {"url": "https://x.example/${params.n}", "expect": {"when": "${response.status == 200}"}},
        "retry": {"limit": 3, "delay": "250ms", "when": "${error.type == 'HttpError'}"},
        "timeout": "1h30m",
    },
    {
        "name": "load",
        "dependsOn": ["pause", "extract"],
        "python": {"function": "jobs.load:run", "args": {"rows": "${tasks.extract.result.body}", "n": None}},
        "triggerRule": "AllFinished",
        "allowFailure": True,
        "onCrash": "Fail",
    },
    {"name": "pause", "wait": {"duration": "5m"}},
    {"name": "say", "shell": {"command": ["echo", "${tasks.load.result}", "${tasks.extract.phase}"]}},
    params=[{"name": "n", "value": {"deep": [1, None]}}, {"name": "empty"}],
    outputs=[{"name": "said", "value": "${tasks.say.result.stdout}"}, {"name": "fixed", "value": 1}],
    retry={"limit": 1, "factor": 1.5, "maxDelay": "1m", "jitter": "Full"},
    failurePolicy="Continue",
    timeout="2h",
    parallelism=3,
    priority=-5,
    suspend=True,
)


def test_a_manifest_compiles_to_this_plan():
    default = RetryPolicy(limit=1, factor=1.5, max_delay_seconds=60.0, jitter=Jitter.FULL)
    assert plan(EVERYTHING, Policy.permissive()) == RunPlan(
        name="etl",
        namespace="team",
        uid="u1",
        params={"n": {"deep": [1, None]}, "empty": None},
        failure_policy=FailurePolicy.CONTINUE,
        timeout_seconds=7200.0,
        parallelism=3,
        priority=-5,
        suspended=True,
        tasks=(
            TaskPlan(
                name="extract",
                kind="http",
                body={
                    "url": "https://x.example/${params.n}",
                    "method": "GET",
                    "headers": [],
                    "query": [],
                    "followRedirects": True,
                    "expect": {"status": ["2xx"], "when": "${response.status == 200}"},
                },
                retry=RetryPolicy(
                    limit=3,
                    delay_seconds=0.25,
                    factor=1.5,
                    max_delay_seconds=60.0,
                    jitter=Jitter.FULL,
                    when="${error.type == 'HttpError'}",
                ),
                timeout_seconds=5400.0,
            ),
            TaskPlan(
                name="load",
                kind="python",
                body={
                    "function": "jobs.load:run",
                    "args": {"rows": "${tasks.extract.result.body}", "n": None},
                    "isolation": "Thread",
                },
                depends_on=("pause", "extract"),
                trigger_rule=TriggerRule.ALL_FINISHED,
                retry=default,
                allow_failure=True,
                on_crash=OnCrash.FAIL,
            ),
            TaskPlan(name="pause", kind="wait", body={"duration": "5m"}, retry=default),
            TaskPlan(
                name="say",
                kind="shell",
                body={
                    "command": ["echo", "${tasks.load.result}", "${tasks.extract.phase}"],
                    "env": [],
                    "successExitCodes": [0],
                },
                depends_on=("load", "extract"),
                retry=default,
            ),
            TaskPlan(
                name="(outputs)",
                kind="outputs",
                body={
                    "outputs": [
                        {"name": "said", "value": "${tasks.say.result.stdout}"},
                        {"name": "fixed", "value": 1},
                    ]
                },
                depends_on=("say",),
                internal=True,
            ),
        ),
    )


def test_a_compiled_plan_survives_the_store():
    made = plan(EVERYTHING)
    assert plan_from_text(plan_to_text(made)) == made


def test_a_plain_manifest_has_the_documented_defaults():
    made = plan(workflow(value("a", content=None)))
    assert made == RunPlan(
        name="etl", namespace="team", uid="u1", tasks=(TaskPlan(name="a", kind="value", body={"value": None}),)
    )


@pytest.mark.parametrize("isolation", list(Isolation))
def test_isolation_is_resolved_from_the_policy(isolation):
    obj = workflow(
        {"name": "a", "python": {"function": "m:f"}},
        {"name": "b", "python": {"function": "m:f", "isolation": "Process"}},
    )
    made = plan(obj, Policy(functions=("m",), default_isolation=isolation))
    assert [task.body["isolation"] for task in made.tasks] == [isolation, "Process"]


def test_explicit_dependencies_come_before_those_of_expressions_each_once():
    made = plan(
        workflow(
            value("a"),
            value("b"),
            value("c"),
            {
                "name": "d",
                "python": {
                    "function": "m:f",
                    "args": {"x": "${tasks.c.result + tasks.b.result}", "y": "${tasks.a.phase}"},
                },
                "dependsOn": ["b"],
                "retry": {"when": "${tasks.a.phase == 'Completed'}"},
            },
        )
    )
    assert set(made.tasks[3].depends_on) == {"a", "b", "c"}
    assert made.tasks[3].depends_on[0] == "b"


def test_an_expression_in_a_literal_field_is_left_alone():
    script = {"shell": {"script": "echo ${HOME} ${tasks.nope}"}}
    assert task(script).body["script"] == "echo ${HOME} ${tasks.nope}"
    assert task({"python": {"source": "def main(): return '${tasks.nope}'"}}).depends_on == ()


def test_a_null_body_is_kept_where_null_means_something():
    assert "body" in task({"http": {"url": "http://x", "body": None}}).body
    assert "body" not in task({"http": {"url": "http://x"}}).body


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1h1m1s1ms", 3661.001), ("0s", 0.0)],
)
def test_durations_are_seconds(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "5", "s", "1.5h", "-5s", "5 s", "1m1h", "5S", "1d", "5s\n", "٥s", "9999999999s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="is no duration: write a number with a unit"):
        seconds(text)
