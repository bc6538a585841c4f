"""Manifests that are made to take long: each of these took minutes or hours before what it does was bounded."""

from __future__ import annotations

from tests.manifest.manifests import problems, value, workflow

NAMES = [f"task-of-a-pipeline-{number:03d}" for number in range(1000)]


def test_thousands_of_unknown_tasks_are_found_with_suggestions_for_the_first_ones():
    missing = [f"task-of-a-pipeline-x{number}" for number in range(14)]
    found = problems(workflow(*(value(name, *missing) for name in NAMES)))
    assert len(found) == 100
    assert found[0][1].startswith(
        'spec.tasks[0].dependsOn[0]: there is no task "task-of-a-pipeline-x0": did you mean "task-of-a-pipeline-'
    )
    assert sum("did you mean" in text for _, text in found) == 10
    assert all("there is no task" in text for _, text in found)


def test_thousands_of_expressions_with_unknown_names_are_found_with_suggestions_for_the_first_ones():
    texts = [f"${{tasks.t{number}.result + params.p{number}}}" for number in range(9)]
    params = [{"name": f"p-{number}", "value": 1} for number in range(256)]
    found = problems(workflow(*(value(name, content=texts) for name in NAMES), params=params))
    assert len(found) == 100
    assert {reason for reason, _ in found} == {"UnknownDependency"}


def test_half_a_megabyte_of_quotes_is_one_problem():
    (found,) = problems(workflow(value("a", content="${" + '"\\' * 100_000)))
    assert found == (
        "InvalidExpression",
        'spec.tasks[0].value: the expression at column 1 has a text that is not closed: add the missing "',
    )


def test_twenty_thousand_unknown_fields_beside_many_expressions_are_a_hundred_problems():
    task = {"name": "a", "shell": {"command": ["${params.x}"] * 256}, **{f"field-{n}": 1 for n in range(20_000)}}
    assert len(problems(workflow(task))) == 100


def test_a_key_of_any_length_and_content_is_shown_on_one_short_line():
    key = "\x1b[2J\nINFO all is well\u2028" + "k" * 100_000
    (found,) = problems(workflow({**value("a"), key: 1}))
    assert found[0] == "UnknownField"
    assert found[1].startswith("spec.tasks[0].\\x1b[2J\\nINFO all is well\\u2028kkk")
    assert found[1].isprintable()
    assert len(found[1]) < 500
