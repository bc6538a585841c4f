"""What may be a result, and what is said about everything else."""

import datetime as dt
import decimal
import enum
import json

import pytest

from flowweaver.core.phases import Reason
from flowweaver.runners.failures import Refused
from flowweaver.runners.results import MAX_DEPTH, MAX_RESULT_BYTES, encode_result


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [None, False, 0, 0.0, "", [], {}, True, -1, 1.5, "text", [None, False, 0, "", [], {}], {"a": {"b": [1, 2, 3]}}],
    ids=repr,
)
def test_a_json_value_comes_back_as_it_was_falsy_ones_too(value):
    back = json.loads(encode_result(value))
    assert back == value
    assert type(back) is type(value)


def test_integers_of_any_size_stay_exact():
    assert json.loads(encode_result([2**53 + 1, -(2**200)])) == [2**53 + 1, -(2**200)]


def test_tuples_become_lists_and_enums_what_they_stand_for():
    assert encode_result({"t": (1, (2,)), "c": Colour.RED}) == b'{"t":[1,[2]],"c":"red"}'


def test_text_is_utf8_and_not_escaped():
    assert encode_result("ü ☃ 😀") == '"ü ☃ 😀"'.encode()


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff"])
def test_lone_surrogates_are_replaced_in_values_and_keys(text):
    stored = json.loads(encode_result({text: [text]}))
    replaced = text.replace("\ud800", "\ufffd").replace("\udfff", "\ufffd")
    assert stored == {replaced: [replaced]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            {"rows": [1, {"when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}]},
            ["result.rows[1].when is of the type datetime", "iso"],
        ),
        ({"a b": decimal.Decimal(1)}, ['result["a b"]', "Decimal", "str(…)"]),
        ([b"x"], ["result[0]", "bytes", "base64"]),
        ({1, 2}, ["result is of the type set", "sorted"]),
        ((number for number in ()), ["result is of the type generator", "list(…)"]),
        (object(), ["result is of the type object"]),
        ({"x": float("nan")}, ["result.x is nan"]),
        (float("-inf"), ["result is -inf"]),
        ({"x": {1: "a"}}, ["result.x has the key 1 of the type int"]),
        ({None: 1}, ["result has the key None of the type NoneType"]),
        ({(1, 2): 1}, ["result has the key (1, 2) of the type tuple"]),
        ([10**5000], ["result can not be written as JSON", "digits"]),
    ],
)
def test_what_json_does_not_have_is_refused_with_its_place_its_type_and_the_fix(value, words):
    with pytest.raises(Refused) as refused:
        encode_result(value)
    assert refused.value.reason == Reason.RESULT_NOT_JSON
    assert not refused.value.retryable
    assert [word for word in words if word not in str(refused.value)] == []


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_is_bounded_and_a_value_that_contains_itself_is_too_deep():
    encode_result(nested(MAX_DEPTH))
    loop = []
    loop.append(loop)
    for value in (nested(MAX_DEPTH + 1), nested(100_000), loop):
        with pytest.raises(Refused, match="levels deep") as refused:
            encode_result(value)
        assert refused.value.reason == Reason.RESULT_NOT_JSON


def test_a_result_is_at_most_one_mebibyte_of_json():
    assert len(encode_result("x" * (MAX_RESULT_BYTES - 2))) == MAX_RESULT_BYTES
    for value in ("x" * (MAX_RESULT_BYTES - 1), "ü" * (MAX_RESULT_BYTES // 2), [0] * (MAX_RESULT_BYTES // 2 + 1)):
        with pytest.raises(Refused, match="at most 1048576 bytes") as refused:
            encode_result(value)
        assert refused.value.reason == Reason.RESULT_TOO_LARGE


TEXT = "x" * 2**20


@pytest.mark.parametrize(
    "value", [[TEXT] * 100_000, dict.fromkeys(map(str, range(100_000)), TEXT), TEXT * 2], ids=["list", "map", "text"]
)
def test_one_text_many_times_is_refused_before_it_is_written_out(value):
    with pytest.raises(Refused, match="characters, and at most 1048576 bytes of JSON are kept"):
        encode_result(value)
