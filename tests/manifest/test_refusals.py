# The texts stand whole, as users see them.
# ruff: noqa: E501, ISC004
"""The exact text of what is refused: a text is a promise, because people and documents quote it."""

from __future__ import annotations

import pytest

from flowweaver.policy import Policy, UnsafeBody
from tests.manifest.manifests import problems, value, workflow

SHELL = {"command": ["true"]}


def only(obj, policy=None):
    (found,) = problems(obj, policy)
    return found


@pytest.mark.parametrize(
    ("obj", "reason", "text"),
    [
        pytest.param(
            workflow(value("a", "c"), value("b", "a"), value("c", "b")),
            "InvalidGraph",
            "spec.tasks[0]: tasks depend on each other in a cycle: a -> c -> b -> a: remove one of these dependencies",
            id="a cycle",
        ),
        pytest.param(
            workflow(value("a", "b"), value("b", content="${tasks.a.result}")),
            "InvalidGraph",
            "spec.tasks[0]: tasks depend on each other in a cycle: a -> b -> a: remove one of these dependencies",
            id="a cycle by an expression",
        ),
        pytest.param(
            workflow(value("a", content="${tasks.a.result}")),
            "InvalidGraph",
            'spec.tasks[0]: task "a" depends on itself: remove that dependency',
            id="a task that reads itself",
        ),
        pytest.param(
            workflow(value("extract"), value("load", "extrct")),
            "UnknownDependency",
            'spec.tasks[1].dependsOn[0]: there is no task "extrct": did you mean "extract"?',
            id="an unknown name",
        ),
        pytest.param(
            workflow(value("extract"), value("load", content={"rows": ["x ${tasks.extrct.result}"]})),
            "UnknownDependency",
            'spec.tasks[1].value.rows[0]: the expression at column 5: there is no task "extrct": did you mean "extract"?',
            id="an unknown name in an expression",
        ),
        pytest.param(
            workflow(value("a"), value("b"), value("a")),
            "DuplicateName",
            'spec.tasks[2].name: two tasks are named "a" (the other one is spec.tasks[0]): give one of them another name',
            id="a duplicate name",
        ),
        pytest.param(
            workflow(value("a-b"), value("a_b")),
            "DuplicateName",
            'spec.tasks[1].name: two tasks are named "a_b", which Python spells like "a-b" (the other one is spec.tasks[0]): '
            "give one of them another name",
            id="a name that Python spells the same",
        ),
        pytest.param(
            workflow(value("a", content="${1 +}")),
            "InvalidExpression",
            "spec.tasks[0].value: the expression at column 6: it ends too early: something is missing at its end",
            id="a bad expression",
        ),
        pytest.param(
            workflow(value("a", content="${params.bucket")),
            "InvalidExpression",
            "spec.tasks[0].value: the expression at column 1 is not closed: add the missing } (or write $${ for a literal ${)",
            id="an expression that is not closed",
        ),
        pytest.param(
            workflow(value("a", content="${params.bukket}"), params=[{"name": "bucket", "value": 1}]),
            "InvalidExpression",
            'spec.tasks[0].value: the expression at column 3: there is no param "bukket": did you mean "bucket"?',
            id="an unknown param",
        ),
        pytest.param(
            workflow({"name": "x", "shell": SHELL, "value": 1}),
            "InvalidSpec",
            'spec.tasks[0]: task "x" has two bodies (shell, value): keep one',
            id="two bodies",
        ),
        pytest.param(
            workflow({"name": "x", "timeout": "5m"}),
            "InvalidSpec",
            'spec.tasks[0]: task "x" has no body: add one of value, python, http, shell, wait',
            id="no body",
        ),
        pytest.param(
            workflow({"name": "x"}),
            "InvalidSpec",
            'spec.tasks[0]: task "x" has no body: add one of value, python, http, shell, wait (kubectl drops value: null; '
            "write value: ${null})",
            id="no body, or one that kubectl dropped",
        ),
        pytest.param(
            workflow({"name": "x", "value": 1, "dependOn": []}),
            "UnknownField",
            'spec.tasks[0].dependOn: there is no field "dependOn" here: did you mean "dependsOn"?',
            id="an unknown field",
        ),
        pytest.param(
            workflow({"name": "x", "value": 1, "forEach": {"items": []}}),
            "UnknownField",
            'spec.tasks[0].forEach: this release does not have "forEach" yet: remove it',
            id="a field of a later release",
        ),
        pytest.param(
            workflow({"name": "x", "http": {"url": "https://x.example", "headers": [{"name": "A", "valueFrom": {}}]}}),
            "UnknownField",
            'spec.tasks[0].http.headers[0].valueFrom: this release does not have "valueFrom" yet: remove it',
            id="a secret, which comes later",
        ),
        pytest.param(
            workflow(value("a" * 300)),
            "TooLarge",
            "spec.tasks[0].name: has 300 characters and at most 63 are allowed: shorten it",
            id="a name of 300 characters",
        ),
        pytest.param(
            workflow(value("Extract")),
            "InvalidSpec",
            "spec.tasks[0].name: must be lower-case letters and digits in words that - or _ separates, and start with a "
            "letter",
            id="a name in capitals",
        ),
        pytest.param(
            workflow(value("a"), name="x" * 53),
            "TooLarge",
            "metadata.name: has 53 characters and at most 52 are allowed: shorten it",
            id="a workflow's name of 53 characters",
        ),
        pytest.param(
            workflow(*[value(f"t{number}") for number in range(1001)]),
            "TooLarge",
            "spec.tasks: there are 1001 tasks and at most 1000 are allowed: split the workflow, or do more in one task",
            id="1001 tasks",
        ),
        pytest.param(
            workflow(),
            "InvalidSpec",
            "spec.tasks: is empty: write at least one item",
            id="no task",
        ),
        pytest.param(
            workflow(value("a", content="x" * 600 * 1024)),
            "TooLarge",
            "spec: it has 614435 bytes as JSON and at most 524288 are allowed: move code into modules, and data to where "
            "tasks can read it",
            id="a spec of 600 KiB",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "timeout": "5 minutes"}),
            "InvalidSpec",
            'spec.tasks[0].timeout: "5 minutes" is no duration: write a number with a unit, such as 90s, 5m, 1h30m or 250ms',
            id="a bad duration",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "timeout": "${params.t}"}, params=[{"name": "t"}]),
            "InvalidSpec",
            'spec.tasks[0].timeout: "${params.t}" is no duration: write a number with a unit, such as 90s, 5m, 1h30m or '
            "250ms (no expression may stand here)",
            id="an expression where none may stand",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "timeout": 90}),
            "InvalidSpec",
            "spec.tasks[0].timeout: must be a text, not a number: put it in quotes",
            id="a number for a duration",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "timeout": "0s"}),
            "InvalidSpec",
            'spec.tasks[0].timeout: "0s" is no time at all: write a longer one, or leave the field out',
            id="a timeout of nothing",
        ),
        pytest.param(
            workflow({"name": False, "value": 1}),
            "InvalidSpec",
            "spec.tasks[0].name: must be a text, not true or false: put it in quotes (without them y, n, on, off, yes and "
            "no are true or false)",
            id="a name that YAML reads as a boolean",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "retry": {"limit": -1}}),
            "InvalidSpec",
            "spec.tasks[0].retry.limit: must be at least 0",
            id="a negative limit",
        ),
        pytest.param(
            workflow(value("a"), failurePolicy="Stop"),
            "InvalidSpec",
            'spec.failurePolicy: must be "FailFast" or "Continue"',
            id="a word that is not there",
        ),
        pytest.param(
            workflow({"name": "a", "python": {"function": "m:f", "source": "def main(): ..."}}),
            "InvalidSpec",
            "spec.tasks[0].python: has both function and source: keep exactly one",
            id="two kinds of Python",
        ),
        pytest.param(
            workflow({"name": "a", "wait": {}}),
            "InvalidSpec",
            "spec.tasks[0].wait: has neither duration nor until: write exactly one",
            id="nothing to wait for",
        ),
        pytest.param(
            workflow({"name": "a", "wait": {"until": "tomorrow"}}),
            "InvalidSpec",
            "spec.tasks[0].wait.until: is no instant in RFC 3339: write one such as 2030-01-01T00:00:00Z",
            id="no instant",
        ),
        pytest.param(
            workflow({"name": "a", "http": {"url": "ftp://x"}}),
            "InvalidSpec",
            "spec.tasks[0].http.url: must start with http:// or https://",
            id="a scheme that is not HTTP",
        ),
        pytest.param(
            workflow({"name": "a", "http": {"url": "http://x", "expect": {"status": ["all"]}}}),
            "InvalidSpec",
            'spec.tasks[0].http.expect.status[0]: must be a status code such as 200, or a class of them such as "2xx"',
            id="no status code",
        ),
        pytest.param(
            workflow({"name": "a", "value": 1, "retry": {"when": "${response.status == 500}"}}),
            "InvalidExpression",
            'spec.tasks[0].retry.when: the expression at column 3: nothing is named "response" here: in scope are attempt, '
            "error, params, tasks, workflow",
            id="a name that is in scope elsewhere",
        ),
        pytest.param(
            workflow(value("a"), params=[{"name": "p"}, {"name": "p"}]),
            "DuplicateName",
            'spec.params[1].name: two params are named "p" (the other one is spec.params[0]): give one of them another name',
            id="a duplicate param",
        ),
        pytest.param(
            {**workflow(value("a")), "specs": {}},
            "UnknownField",
            "specs: there is no such field: there are apiVersion, kind, metadata and spec",
            id="an unknown field at the top",
        ),
        pytest.param(
            {**workflow(value("a")), "apiVersion": "flowweaver.io/v1"},
            "InvalidSpec",
            'apiVersion: must be "flowweaver.io/v1alpha1"',
            id="another version",
        ),
    ],
)
def test_it_is_refused_with_this_text(obj, reason, text):
    assert only(obj) == (reason, text)


@pytest.mark.parametrize(
    ("task", "switch", "text"),
    [
        (
            {"name": "a", "shell": SHELL},
            {UnsafeBody.SHELL},
            "spec.tasks[0].shell: shell is switched off here: the administrator can allow it with --unsafe-bodies shell "
            "(Helm value unsafeBodies)",
        ),
        (
            {"name": "a", "python": {"source": "def main(): ..."}},
            {UnsafeBody.PYTHON_SOURCE},
            "spec.tasks[0].python.source: python.source is switched off here: the administrator can allow it with "
            "--unsafe-bodies python.source (Helm value unsafeBodies)",
        ),
    ],
)
def test_a_body_that_is_off_is_refused_until_it_is_switched_on(task, switch, text):
    assert only(workflow(task), Policy()) == ("BodyNotAllowed", text)
    assert problems(workflow(task), Policy(unsafe_bodies=frozenset(switch))) == []


def test_threads_need_their_own_switch():
    obj = workflow({"name": "a", "python": {"function": "jobs.load:run", "isolation": "Thread"}})
    policy = Policy(functions=("jobs.*",))
    assert only(obj, policy)[1].startswith("spec.tasks[0].python.isolation: isolation: Thread is switched off here")
    assert problems(obj, Policy(functions=("jobs.*",), unsafe_bodies=frozenset({UnsafeBody.THREAD}))) == []


def test_functions_run_from_the_administrators_modules_only():
    obj = workflow({"name": "a", "python": {"function": "os:system"}})
    assert only(obj, Policy(functions=("jobs.*",))) == (
        "BodyNotAllowed",
        'spec.tasks[0].python.function: functions of the module "os" may not run here: the administrator can allow them '
        "with --functions os (Helm value functions)",
    )


def test_all_problems_are_told_at_once_in_the_order_of_the_file():
    obj = workflow(
        {"retry": {"limit": "two", "factr": 2}, "name": "A", "value": "${nope}"},
        {"name": "b", "dependsOn": ["zz"], "shell": {"command": [5]}, "wait": {"duration": "x"}},
        value("c", "c"),
        outputs=[{"name": "o", "value": "${tasks.b.result}${tasks.gone.result}"}],
        parallelism=0,
    )
    assert [text.split(": ")[0] for _, text in problems(obj)] == [
        "spec.tasks[0].retry.limit",
        "spec.tasks[0].retry.factr",
        "spec.tasks[0].name",
        "spec.tasks[0].value",
        "spec.tasks[1]",
        "spec.tasks[1].dependsOn[0]",
        "spec.tasks[1].shell.command[0]",
        "spec.tasks[1].wait.duration",
        "spec.tasks[2]",
        "spec.outputs[0].value",
        "spec.parallelism",
    ]


def test_no_text_repeats_what_may_be_a_secret():
    secret = "hunter2"
    obj = workflow(
        {
            "name": "a",
            "shell": {"command": ["x"], "env": [{"name": "T", "value": {"v": secret}}, {"name": secret, "x": 1}]},
        },
        {
            "name": "b",
            "http": {"url": "http://x", "headers": [{"name": "A", "value": [secret]}, {"name": "B", "value": 5}]},
        },
        {"name": "c", "http": {"url": "http://x", "headers": [{"name": "A", "value": "${'" + secret + "' + 5}"}]}},
        {"name": "d", "shell": {"command": ["x"], "env": [{"name": "T", "value": secret * 10_000}]}},
    )
    found = problems(obj)
    assert len(found) == 6
    assert not [text for _, text in found if secret in text]


def test_the_mended_manifest_is_accepted():
    assert problems(workflow(value("extract"), value("load", "extract"))) == []
