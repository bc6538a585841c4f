from __future__ import annotations

import pytest

from flowweaver.errors import ExpressionError
from flowweaver.expressions import Names, check, references
from flowweaver.expressions.checks import Kind

NAMES = Names(tasks=frozenset({"extract", "load-it"}), params=frozenset({"bucket"}))


def messages(value, names=NAMES):
    return [str(finding.message) for finding in check(value, names)[0]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${tasks.a.result}", {"a"}),
        ("${tasks['a-b'].result + tasks.c.phase}", {"a-b", "c"}),
        ({"x": ["${tasks.a.result}", {"y": "z ${tasks.b.result}"}]}, {"a", "b"}),
        ("${'tasks.a.result'}", set()),
        ("$${tasks.a.result}", set()),
        ("${[1].map(tasks, tasks.a)}", set()),
        ("${tasks.a.result.map(x, tasks.b.result[x])}", {"a", "b"}),
        ("${has(tasks.a.result.x)}", {"a"}),
        ("${tasks.?a}", {"a"}),
        ("${tasks.a.result[tasks.b.result]}", {"a", "b"}),
        ("${ {'k': tasks.a} }", {"a"}),
        ("${params.x ? tasks.a.result : tasks.b.result}", {"a", "b"}),
        ("${'x'.startsWith(tasks.a.result)}", {"a"}),
        ("no", set()),
        (5, set()),
    ],
)
def test_references_are_what_the_expressions_really_read(value, expected):
    assert references(value) == expected


@pytest.mark.parametrize("value", ["${tasks[params.x].result}", "${tasks}", "${tasks.map(t, t)}", "${size(tasks)}"])
def test_a_task_that_only_the_run_could_name_is_an_error(value):
    with pytest.raises(ExpressionError, match="which task is meant must be written out, such as"):
        references(value)
    assert messages(value) == [
        (
            f"the expression at column {value.index('tasks') + 1}: which task is meant must be written out, such as "
            'tasks.a or tasks["a-b"]: what runs first depends on it'
        )
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a ${parms.bucket}", 'column 5: nothing is named "parms" here: in scope are params, tasks, workflow'),
        ("${params.bukket}", 'column 3: there is no param "bukket": did you mean "bucket"?'),
        ("${tasks.extrct.result}", 'column 3: there is no task "extrct": did you mean "extract"?'),
        ("${tasks.load-it.result}", 'there is no task "load": a name with a dash is written tasks["load-it"]'),
        ("${tasks.extract.reslt}", 'tasks.extract has no "reslt": it has result, phase, error, attempts'),
        ("${workflow.id}", 'workflow has no "id": it has name, namespace, uid, startedAt'),
        ("${response.status}", 'nothing is named "response" here'),
        ("${1 + 'a'}", 'column 5: "+" does not work on (int, string): convert with string(…), int(…) or double(…)'),
        ("${params.bucket.foo()}", 'there is no function "foo"'),
        ("${params.bucket == 'a' and true}", '"and" is not expected here: write &&'),
        ("${params.bucket = 'a'}", '"=" means nothing here: write =='),
        ("${true ? 'a' : 1}", "both sides of the : must have the same type: convert one, or wrap both in dyn(…)"),
        ("${1 ? 'a' : 'b'}", "a condition must be true or false: compare with ==, > or the like"),
        ("${'abc\\q'}", "a text is not closed, or holds a backslash that means nothing"),
        ("${[1, 2}", "column 8: it ends too early"),
        ("${Foo{a: 1}}", "a Foo can not be made here: write a map, with its keys in quotes"),
        ("${params.bucket +}", "column 18: it ends too early: something is missing at its end"),
        ("x\n${1 +}", "line 2, column 6: it ends too early"),
        ("${", "the expression at column 1 is not closed"),
    ],
)
def test_what_is_wrong_is_found_before_anything_runs(text, message):
    (found,) = messages(text)
    assert message in found


def test_a_task_that_is_not_there_is_told_from_a_bad_expression():
    findings, _ = check({"a": "${tasks.nope.result}", "b": "${nope}"}, NAMES, "spec.tasks[0].value")
    assert [(finding.path, finding.kind) for finding in findings] == [
        ("spec.tasks[0].value.a", Kind.TASK),
        ("spec.tasks[0].value.b", Kind.EXPRESSION),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "${tasks.extract.result.rows[0].id}",
        "${tasks['load-it'].error.message}",
        "${has(params.other) ? params.bucket : 'none'}",
        "${params.?other.orValue(1)}",
        "${optional.of(1).orValue(2)}",
        "${type(params.bucket) == string}",
        "${double(params.bucket) > 3}",
        "${tasks.extract.result.map(row, {'id': row.id})}",
        "${'%s' .format([1])}",
    ],
)
def test_what_is_right_has_no_findings(text):
    assert messages(text) == []


def test_known_tasks_are_listed_in_the_order_of_the_text():
    _, read = check(
        {"z": "${tasks['load-it'].result}", "a": "${tasks.extract.result + tasks['load-it'].result}"}, NAMES
    )
    assert read == ["load-it", "extract"]
