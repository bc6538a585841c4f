from __future__ import annotations

import json
import threading
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowweaver.core.events import AttemptId
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.errors import ExpressionError
from flowweaver.expressions import Scope, render, scope_of, truth
from flowweaver.ports import Attempt, Dependency
from tests.expressions.scopes import completed, failed, scope

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


def error(value, in_scope, path="value"):
    with pytest.raises(ExpressionError) as caught:
        render(value, in_scope, path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${params.n}", 3),
        ("${params.yes}", True),
        ("${params.nothing}", None),
        ("${params.rows}", [{"v": 1}, {"v": 2.5}]),
        ("${params['a-b'][0]}", "x"),
        ("${params.rows.map(r, r.v * 2)}", [2, 5.0]),
        ("${params.rows[1].v > params.n ? 'more' : 'less'}", "less"),
        ("${size(params.rows) == 2 && params.n in [1, 3]}", True),
        ("${has(params.missing)}", False),
        ("${params.?missing.orValue('default')}", "default"),
        ("${params.?n.orValue(0)}", 3),
        ("${'a,b'.split(',')}", ["a", "b"]),
        ("${ {'a': {'b': [params.n]}} }", {"a": {"b": [3]}}),
        ("${timestamp('2026-01-02T03:04:05Z') + duration('90m')}", "2026-01-02T04:34:05Z"),
        ("${duration('1h30m')}", "5400s"),
        ("${duration('-250ms')}", "-0.25s"),
        ("${workflow.namespace}/${workflow.name}", "team/etl"),
        ("n=${params.n} f=${params.rows[1].v} b=${params.yes} s=${params.s}", "n=3 f=2.5 b=true s=x"),
        ("${4.0 / 2.0}!", "2!"),
        ("$${params.n}", "${params.n}"),
        ("no expression", "no expression"),
    ],
)
def test_a_text_becomes_its_value(text, expected):
    params = {"n": 3, "yes": True, "nothing": None, "s": "x", "rows": [{"v": 1}, {"v": 2.5}], "a-b": ["x"]}
    assert render(text, scope(params)) == expected
    assert type(render(text, scope(params))) is type(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("params.whole * 1.5", 4.5),
        ("params.part + params.whole", 5.5),
        ("params.whole - params.part", 0.5),
        ("params.whole / params.part", 1.2),
        ("1 + 2.5", 3.5),
        ("7 / 2", 3),
        ("params.whole < params.part", False),
        ("double(params.whole) > 2", True),
        ("params.whole == 3.0", True),
        ("1 == 1.0", True),
        ("params.integral % 2", 0),
    ],
)
def test_whole_and_fractional_numbers_mix(expression, expected):
    assert render(f"${{{expression}}}", scope({"whole": 3, "part": 2.5, "integral": 4.0})) == expected


def test_everything_in_a_value_is_rendered_but_keys():
    value = {"${params.n}": ["${params.n}", {"deep": "<${params.n}>"}, 5, None, True]}
    assert render(value, scope({"n": 3})) == {"${params.n}": [3, {"deep": "<3>"}, 5, None, True]}


def test_dependencies_are_read_with_result_phase_error_and_attempts():
    in_scope = scope(a=completed({"rows": [1, 2]}, attempts=2), **{"b-c": failed()})
    assert render("${tasks.a.result.rows[1]}", in_scope) == 2
    assert render("${tasks.a}", in_scope) == {
        "result": {"rows": [1, 2]},
        "phase": "Completed",
        "error": None,
        "attempts": 2,
    }
    assert render('${tasks["b-c"].phase}: ${tasks["b-c"].error.message}', in_scope) == "Failed: boom"
    assert render('${tasks["b-c"].result == null && tasks["b-c"].attempts == 3}', in_scope) is True


@given(JSON)
def test_a_plain_path_gives_the_value_as_it_is(value):
    assert render("${tasks.a.result}", scope(a=completed(value))) == value
    assert render("${params.x}", scope({"x": value})) == value


@given(JSON)
def test_what_went_through_the_language_is_the_same_but_for_numbers_it_does_not_have(value):
    rendered = render("${[params.x][0]}", scope({"x": value}))
    assert rendered == json.loads(json.dumps(value), parse_int=lambda digits: _number(int(digits)))


def _number(value):
    return value if -(2**63) <= value < 2**63 else float(value)


def test_results_are_decoded_afresh_for_each_reader():
    in_scope = scope({"list": [1]}, a=completed({"list": [1]}))
    for text in ("${tasks.a.result.list}", "${params.list}", "${tasks.a.result.list + []}"):
        render(text, in_scope).append(2)
        assert render(text, in_scope) == [1]


def test_a_result_that_is_not_read_is_not_decoded():
    broken = Dependency("Completed", b"this is no JSON", "", "", 1)
    in_scope = scope(a=completed(1), b=broken)
    assert render("${tasks.a.result + 1}", in_scope) == 2


def test_a_number_beyond_64_bits_spoils_no_other_field():
    in_scope = scope({"big": 2**70, "n": 1})
    assert render("${params.n + 1}", in_scope) == 2
    assert render("${params.big}", in_scope) == 2**70
    assert render("${params.big > 1.0e21 && size(params) == 2}", in_scope) is True


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "é😀", "\ufdd0", ""])
def test_no_text_crashes_or_is_cut(text):
    assert len(render("${params.x + '!'}", scope({"x": text}))) == len(text) + 1


def test_nul_passes_through():
    assert render("${params.x + '!'}", scope({"x": "a\0b"})) == "a\0b!"
    assert render("${params.x + ['\ufdd0']}", scope({"x": ["\0", "\ufdd0\0"]})) == ["\0", "\ufdd0\0", "\ufdd0"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"rows": ["ok", "${params.nope}"]},
            'value.rows[1]: there is no "nope" in it: test with has(…) first, or give a default with .?nope.orValue(…)',
        ),
        ("${params.n.x + 1}", "value: a field is asked of something that has none: only maps have fields"),
        (
            "a ${params.list}",
            "value: the expression at column 5: it is a list within text: make it the whole field, or",
        ),
        ("a ${params.map}", "it is a map within text"),
        ("a ${params.nothing}", 'it is null within text: give a default, such as x == null ? "" : x'),
        ("${tasks.other.result}", 'value: task "other" can not be read here: add it to dependsOn'),
        ("${tasks[params.s].result}", 'which task is meant must be written out, such as tasks.a or tasks["a-b"]'),
        ("${item.x}", 'nothing is named "item" here: in scope are params, tasks, workflow'),
        ("${1 / 0}", "value: it divides by zero"),
        ("${9223372036854775807 + 1}", "a whole number does not fit into 64 bits: calculate with double(…)"),
        ("${params.s + 1}", '"+" does not work on (string, int): convert with string(…), int(…) or double(…)'),
        ("${params.n && true}", "a condition must be true or false: compare with ==, > or the like"),
        ("${params.list[7]}", "there is no item 7: the list has 1"),
        ("${params.s.map(x, x)}", "only a list or a map can be gone through with map, filter, all or exists"),
        ("${1.0 / 0.0}", "it gives a number that JSON does not have (NaN or infinity)"),
        ("${b'x'}", "it gives bytes, which JSON does not have: convert them with string(…)"),
        ("${ {1: 2} }", "it gives a map with the key 1, and JSON has only texts as keys: write string(…)"),
        ("${type(1)}", "it gives a value that is no JSON"),
        ("${params.?s}", "it gives an optional value: end it with .orValue(…)"),
        ("${timestamp('tomorrow')}", "the text is no instant in RFC 3339, such as 2030-01-01T00:00:00Z"),
        ("${", "value: the expression at column 1 is not closed"),
        ("${params.n +}", "value: the expression at column 13: it ends too early: something is missing at its end"),
    ],
)
def test_an_error_starts_with_its_field_and_names_the_fix(value, message):
    in_scope = scope({"n": 3, "s": "x", "list": [1], "map": {}, "nothing": None})
    text = error(value, in_scope)
    assert text.startswith("value")
    assert message in text


def test_a_condition_must_give_true_or_false():
    in_scope = scope({"n": 3}).adding(error={"type": "OSError", "message": "gone"}, attempt=2)
    assert truth('${error.type == "OSError" && attempt < 3}', in_scope) is True
    assert truth("${params.n == 4}", in_scope) is False
    for text in ("${params.n}", "true", "a ${true}"):
        with pytest.raises(ExpressionError, match=r"^retry\.when: a condition must be one expression that gives true"):
            truth(text, in_scope, "retry.when")


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_deep_values_are_refused_and_do_not_crash():
    assert "nested more than 100 deep" in error(nested(5000), scope())
    assert "nested more than 100 deep" in error("${params.x == 1}", scope({"x": nested(5000)}))


@pytest.mark.parametrize(
    ("expression", "params"),
    [
        ("params.rows.map(x, x + 1)", {"rows": list(range(1001))}),
        ("params.rows.filter(x, x > 1)", {"rows": list(range(1001))}),
        ("params.rows.map(x, params.rows.map(y, 1))", {"rows": list(range(101))}),
        ("params.rows.all(a, params.rows.all(b, a < b || true))", {"rows": list(range(2000))}),
        ("['" + "a" * 30 + "']" + ".map(a, a + a + a + a + a + a + a + a)" * 8, {}),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9].map(i, params.s).map(j, j + j + j + j + j + j + j + j)", {"s": "x" * 1_000_000}),
        ("params.s.replace('x', params.s)", {"s": "x" * 10_000}),
        ("params.s.split('').map(x, params.s)", {"s": "x" * 10_000}),
        ("params.rows.join(params.s)", {"rows": ["a"] * 1000, "s": "x" * 100_000}),
        ("(" * 40 + "1" + ")" * 40, {}),
        ("+".join(["1"] * 100), {}),
    ],
)
def test_what_could_cost_too_much_is_refused(expression, params):
    text = error(f"${{{expression}}}", scope(params))
    assert any(word in text for word in ("python task", "value tasks"))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("size(params.rows.map(x, x + 1))", 1000),
        ("params.many.exists(x, x == 4999)", True),
        ("size(params.many)", 5000),
        ("size(params.text + '!')", 1_000_001),
        ("params.rows.filter(x, x in [1, 2])", [1, 2]),
        ("params.text.contains('y')", False),
    ],
)
def test_what_is_within_bounds_is_done(expression, expected):
    params = {"rows": list(range(1000)), "many": list(range(5000)), "text": "x" * 1_000_000}
    assert render(f"${{{expression}}}", scope(params)) == expected


def test_threads_share_compiled_expressions():
    wrong = []

    def read(number):
        for _ in range(100):
            value = render("${params.rows.map(x, x * 2)[params.i]}", scope({"rows": list(range(20)), "i": number}))
            if value != number * 2:
                wrong.append((number, value))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_attempt_gives_its_scope():
    run = RunPlan(tasks=(), name="etl", namespace="team", uid="u1", params=MappingProxyType({"n": 1}))
    attempt = Attempt(
        id=AttemptId(1, 0, 1),
        task=TaskPlan(name="a", kind="value"),
        run=run,
        run_started_at=1_767_323_045.25,
        dependencies={"b": completed([1])},
    )
    text = "${workflow.name} ${workflow.uid} ${workflow.startedAt} ${params.n} ${tasks.b.result[0]}"
    assert render(text, scope_of(attempt)) == "etl u1 2026-01-02T03:04:05.250000Z 1 1"


@given(st.text("${}()[]'\"\\abpn.mrtks+-*/<=>!&|?:, \n0123456789\ud800é", max_size=40))
def test_nothing_but_an_expression_error_comes_out(text):
    for candidate in (text, f"${{{text}}}"):
        message = "x: "
        try:
            render(candidate, Scope({"params": {"a": 1}}), "x")
        except ExpressionError as exc:
            message = str(exc)
        assert message.startswith("x: ")
