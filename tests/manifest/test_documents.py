from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowweaver.errors import ManifestError
from flowweaver.manifest import load_documents

# As a kube-apiserver 1.36 gave them back after `kubectl create`.
AS_THE_API_SERVER_READS = {
    "9007199254740993": 9007199254740993,
    "0644": 420,
    "n": False,
    "2024-01-01": "2024-01-01",
    "1.0": 1,
    "1_000": 1000,
    "12:30:00": "12:30:00",
    "0o17": 15,
    "on": True,
    "=": "=",
    "1e3": 1000,
    "0x1F": 31,
    "null": None,
    "0b11": 3,
    "+5": 5,
    ".5": 0.5,
    "1.": 1,
    "1e400": "1e400",
    "99999999999999999999": 100000000000000000000,
    "08": 8,
    "~": None,
    "0_7": 7,
    "Yes": True,
    "1.5e+300": 1.5e300,
    "-0": 0,
    "-0.0": 0,
    "18446744073709551615": 18446744073709552000,
    "2024-01-01T00:00:00Z": "2024-01-01T00:00:00Z",
    "1__0": 10,
    "_1": "_1",
    "-.5": -0.5,
    "0x": "0x",
    "1e-7": 1e-07,
    "123456789012345678901234567890.5": 1.2345678901234568e29,
    "1e21": 1e21,
    "-0o17": -15,
    "-017": -15,
    "0777_1": 4089,
    "0xAF_1": 2801,
    "1_0.5": 10.5,
    "+.5e3": 500,
    "-0x1F": -31,
    "0B11": 3,
    "0X1F": 31,
    "1e+": "1e+",
    "nULL": "nULL",
    "5.e3": 5000,
    '"n"': "n",
    "'0644'": "0644",
    "!!str 5": "5",
}


@pytest.mark.parametrize(("text", "expected"), AS_THE_API_SERVER_READS.items())
def test_scalars_are_read_as_the_api_server_reads_them(text, expected):
    ((content,)) = [load_documents(f"x: {text}")[0]["x"]]
    assert (repr(content), content) == (repr(expected), expected)


def test_keys_are_texts():
    assert load_documents("1: a\ny: b\n0644: c\n2.0: d") == [{"1": "a", "true": "b", "420": "c", "2": "d"}]
    assert load_documents('{"y": 1, "yes": 2}') == [{"y": 1, "yes": 2}]


def test_several_documents_and_json_are_read_and_empty_ones_left_out():
    assert load_documents('---\n---\na: 1\n---\n# nothing\n---\n{"b": [1, "x\\u00e9"]}\n...\n') == [
        {"a": 1},
        {"b": [1, "xé"]},
    ]


def test_aliases_and_merges_are_written_out():
    text = "base: &b {x: 1, z: 2}\nmore: {<<: *b, z: 3}\nlist: {<<: [{x: 5}, *b]}\nagain: *b"
    assert load_documents(text) == [
        {"base": {"x": 1, "z": 2}, "more": {"x": 1, "z": 3}, "list": {"x": 5, "z": 2}, "again": {"x": 1, "z": 2}}
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "line 2, column 1: this is no YAML: did not find expected"),
        ("a: 1\n b: 2", "line 2, column 3: this is no YAML: mapping values are not allowed in this context"),
        ("a: 1\na: 2", 'line 2, column 1: the key "a" stands twice: remove one'),
        ("yes: 1\ntrue: 2", 'line 2, column 1: the key "true" stands twice: remove one'),
        ("- a", "line 1, column 1: a manifest is a map that starts with apiVersion, not this"),
        (
            "a: !!python/object/apply:os.system [x]",
            "the tag tag:yaml.org,2002:python/object/apply:os.system is not read",
        ),
        ("a: !secret x", "line 1, column 4: the tag !secret is not read: remove it"),
        ("a: .inf", "line 1, column 4: .inf is no number in JSON: quote it, or write another one"),
        ("a: &x [*x]", "the document is nested more than 100 deep, aliases written out"),
        ("? [a]\n: 1", "line 1, column 3: a key must be a text"),
        ("null: 1", "line 1, column 1: a key must be a text: put it in quotes"),
        ("1.5: 1", "line 1, column 1: a key must be a text: put it in quotes"),
        ('{"a": 1, "a": 2}', 'the key "a" stands twice in one map: remove one'),
        ('{"a": 1e999}', "inf is no number in JSON: quote it, or write another one"),
        ('{"a": NaN}', "nan is no number in JSON"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 100 deep"),
        ('{"a": [1}', "this is no YAML"),
        ("a: *nowhere", "line 1, column 4: this is no YAML: found undefined alias"),
        ("a: \0", "this is no YAML: "),
        ("[" * 5000, "line 1, column 101: the document is nested more than 100 deep"),
        ("a: " + "[" * 5000 + "]" * 5000, "deep"),
    ],
)
def test_what_can_not_be_read_says_where(text, message):
    with pytest.raises(ManifestError) as caught:
        load_documents(text)
    assert message in str(caught.value)


def test_a_billion_laughs_are_bounded():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
    )
    with pytest.raises(ManifestError, match="has more than 500000 values, aliases written out"):
        load_documents(text)


def test_json_has_escapes_and_numbers_of_its_own():
    text = '{"a": "\\ud800\\udc00 \\ud800", "b": 1.0, "c": 99999999999999999999} {"d": 1e3}\n'
    assert load_documents(text) == [{"a": "\U00010000 \ufffd", "b": 1, "c": 100000000000000000000}, {"d": 1000}]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | st.text(
        st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufeff\ufffe\uffff\x85\u2028\u2029")
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc123", max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abc", min_size=1), JSON, min_size=1))
def test_json_is_yaml(content):
    assert load_documents(json.dumps(content)) == [content]


@given(st.text())
def test_no_text_makes_it_crash(text):
    try:
        documents = load_documents(text)
    except ManifestError:
        return
    for document in documents:
        json.dumps(document, allow_nan=False)


@given(st.text("0123456789_-+.eExXoObBaAnfyY~:", max_size=12))
def test_every_scalar_is_read_as_json(text):
    try:
        documents = load_documents(f"x: {text}")
    except ManifestError:
        return
    number = documents[0].get("x")
    assert not isinstance(number, float) or math.isfinite(number)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a: " + "{b: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "\n".join(" " * n + "a:" for n in range(2000)),
    ],
    ids=["lists", "maps", "dashes", "keys", "blocks"],
)
def test_what_is_nested_too_deep_is_refused_and_ends_no_process(text):
    # In a process of its own, because what is guarded against is the end of the process.
    code = """
import sys
from flowweaver.errors import ManifestError
from flowweaver.manifest import load_documents
try:
    load_documents(sys.stdin.read())
except ManifestError as exc:
    print(exc)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0
    assert "nested" in ended.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spec:\n\t- a", ["line 2, column 1", "indent with spaces and not with tabs"]),
        ("a: b: c", ["line 1, column 5", "quote a text in which a blank follows a colon"]),
        ("a: {b: ${params.x}}", ["quote a text with ${…} that stands between braces"]),
        ("a: [${params.x}, {b: c]", ["quote a text with ${…}"]),
        ("a:\n  - b\n c: d", ["check the indentation"]),
        ("name: {{ .Release.Name }}", ["line 1, column 8", "render it first"]),
        ("a: b\0", ["#x0000", "at position 4"]),
    ],
)
def test_common_mistakes_in_yaml_are_told_with_their_fix(text, words):
    with pytest.raises(ManifestError) as caught:
        load_documents(text)
    assert [word for word in words if word not in str(caught.value)] == []
