"""What expressions may take from the process that evaluates them: its life, its memory, its time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowweaver.errors import ExpressionError
from flowweaver.expressions import parse, render
from flowweaver.expressions.language import parse_source
from flowweaver.expressions.metering import MADE_LIMIT, READ_LIMIT
from tests.expressions.scopes import completed, scope

MEBIBYTE = 1024 * 1024
TEXT = completed("x" * (MEBIBYTE - 2))
ROWS = completed([[] for _ in range(100_000)])


def error(value, among):
    with pytest.raises(ExpressionError) as caught:
        render(value, among)
    return str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        '{"a": optional.of(1)}',
        '{"a": params.?o}',
        '[{"b": {"c": optional.none()}}]',
        '[1].map(x, {"a": optional.of(x)})',
        "[optional.none()]",
        "optional.of({'a': optional.none()})",
    ],
)
def test_an_optional_value_within_a_result_ends_the_task_and_not_the_process(expression):
    # In a process of its own, because what is guarded against is the end of the process.
    code = """
import sys
from flowweaver.errors import ExpressionError
from flowweaver.expressions import Scope, render
try:
    render(sys.argv[1], Scope({"params": {"o": 1}}))
except ExpressionError as exc:
    print(exc)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, f"${{{expression}}}"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "it gives an optional value: end it with .orValue(…)")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(["${tasks.a.result}"] * 10_000, id="a list"),
        pytest.param("${tasks.a.result}" * 10_000, id="one text"),
        pytest.param(["${tasks.rows.result}"] * 10_000, id="lists"),
        pytest.param(["${params.rows}"] * 10_000, id="params"),
        pytest.param({"a": {"b": ["${tasks.a.result + '!'}"] * 10_000}}, id="calculated"),
        pytest.param("${[" + ", ".join(["tasks.a.result"] * 200) + "]}", id="one expression"),
        pytest.param("${[" + ", ".join(["tasks.rows.result"] * 200) + "]}", id="lists in one expression"),
        pytest.param("${{'a': params.ids.map(i, {'b': params.ids})}}", id="a loop"),
    ],
)
def test_what_expressions_give_together_is_bounded(value):
    among = scope({"rows": [[] for _ in range(10_000)], "ids": list(range(1000))}, a=TEXT, rows=ROWS)
    assert "more than" in error(value, among)
    assert MADE_LIMIT <= 32 * MEBIBYTE


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(["${size(params.rows)}"] * 10_000, id="params"),
        pytest.param(["${size(tasks.a.result)}", "${size(tasks.b.result)}"] * 5000, id="results in turn"),
        pytest.param(["${tasks.a.result}", "${tasks.b.phase}"][1:] + ["${tasks.a.error}", "${tasks.b.error}"] * 5000),
        pytest.param(["${size(params.ids.map(i, i))}"] * 10_000, id="loops"),
    ],
)
def test_what_expressions_read_together_is_bounded(value):
    among = scope({"rows": ["x" * 100] * 4000, "ids": list(range(1000))}, a=TEXT, b=completed(["y" * MEBIBYTE]))
    assert f"read more than {READ_LIMIT // MEBIBYTE} MiB in all" in error(value, among)


def test_many_fields_may_be_taken_out_of_one_large_result():
    rows = [{"id": number, "text": "x" * 90} for number in range(10_000)]
    taken = render([f"${{tasks.a.result[{number}].id}}" for number in range(10_000)], scope(a=completed(rows)))
    assert taken == list(range(10_000))


def test_a_part_of_a_result_is_a_copy():
    first, second = render(["${tasks.a.result.rows}", "${tasks.a.result.rows}"], scope(a=completed({"rows": [1]})))
    first.append(2)
    assert second == [1]


@pytest.mark.parametrize(
    "expression",
    [
        r"params.many.all(x, 'b'.matches('(.{0,999}a)') || true)",
        r"params.many.all(x, 'a'.matches('(\\pL{0,900})z') || true)",
        r"params.many.all(x, 'a'.matches(params.pattern) || true)",
        r"params.many.all(x, 'a'.matches(string(params.pattern) + '{1,900}') || true)",
        r"params.text.matches('(\\pL.?){400}x')",
    ],
)
def test_regular_expressions_that_take_long_are_refused(expression):
    params = {"many": list(range(2000)), "pattern": "(.{0,999}a)", "text": "a" * 100_000}
    assert "do it in a python task" in error(f"${{{expression}}}", scope(params))


def test_ordinary_regular_expressions_are_matched():
    params = {"rows": [f"row-{number}" for number in range(1000)], "text": "x" * 500_000, "pattern": "^row-7$"}
    assert render("${params.rows.filter(r, r.matches('^[a-z]{3}-[0-9]{3}$')).size()}", scope(params)) == 900
    assert render("${params.text.matches('^x+y?$')}", scope(params)) is True
    assert render("${params.rows[7].matches(params.pattern)}", scope(params)) is True


@pytest.mark.parametrize(
    ("repeated", "quote"),
    [('"\\', '"'), ("'\\", "'"), ('\\"""x"', '"'), ("\\'''x'", "'"), ("r'''x'\n", "'")],
    ids=["escaped", "escaped single", "three", "three single", "raw"],
)
def test_a_text_that_is_not_closed_is_found_at_once(repeated, quote):
    # Half a megabyte of it took minutes when every quote was tried as the start of a text.
    with pytest.raises(ExpressionError, match=f"has a text that is not closed: add the missing {quote}"):
        parse("${" + repeated * (500_000 // len(repeated)))


@pytest.mark.parametrize(
    "source", ['""', "''", '""""""', "''''''", '"""a"b"""', "r'\\'", '"\\""', "'}'", '"a" + "" + "}"', 'r"""}"""']
)
def test_texts_in_expressions_may_be_empty_and_hold_quotes_and_braces(source):
    assert [hole.source for hole in parse(f"${{{source}}}").holes] == [source]


def test_a_scope_is_one_attempts_account():
    one, other = scope(a=TEXT), scope(a=TEXT)
    for among in (one, other):
        assert len(render(["${tasks.a.result}"] * 20, among)) == 20
    assert "more than 32 MiB" in error(["${tasks.a.result}"] * 20, one)


def test_few_long_expressions_are_kept_and_many_short_ones():
    short, long = "params.a + 1", "params.a + " + " + ".join(["size('" + "x" * 100 + "')"] * 20)
    first = parse_source(short), parse_source(long)
    for number in range(100):
        parse_source(f"{number} + {short}")
        parse_source(f"{number} + {long}")
    assert parse_source(short) is first[0]
    assert parse_source(long) is not first[1]
