from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowweaver.errors import ExpressionError
from flowweaver.expressions import Hole, parse
from flowweaver.expressions.templates import LENGTH_LIMIT


def parts(text):
    return [part if isinstance(part, str) else (part.source, part.offset) for part in parse(text).parts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("plain $ text $5", ["plain $ text $5"]),
        ("${a}", [("a", 2)]),
        ("x ${a} y ${ b }", ["x ", ("a", 4), " y ", (" b ", 11)]),
        ("$${a}", ["${a}"]),
        ("$$${a}", ["$${a}"]),
        ("$$ ${a}", ["$$ ", ("a", 5)]),
        ("${ {'a': {'b': 1}} }!", [(" {'a': {'b': 1}} ", 2), "!"]),
        ("${'}' + \"}\"}", [("'}' + \"}\"", 2)]),
        ("${'it\\'s }'}", [("'it\\'s }'", 2)]),
        ("${r'\\' + '}'}", [("r'\\' + '}'", 2)]),
        ("${'''a'}'''}", [("'''a'}'''", 2)]),
        ('${"""a"}\n"""}', [('"""a"}\n"""', 2)]),
        ("${b'}'}", [("b'}'", 2)]),
        ("${a // not the end: }\n}", [("a // not the end: }\n", 2)]),
        ("${'$${x}'}", [("'$${x}'", 2)]),
        ("${bar}'}", [("bar", 2), "'}"]),
    ],
)
def test_expressions_are_found_with_their_places(text, expected):
    assert parts(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${a", "the expression at column 1 is not closed: add the missing } (or write $${ for a literal ${)"),
        ("ab ${ {'x': 1}", "the expression at column 4 is not closed"),
        ("one\ntwo ${a", "the expression at line 2, column 5 is not closed"),
        ("${}", "the expression at column 1 is empty: write one between the braces, or $${ for a literal ${"),
        ("x${ \n }", "is empty"),
        ("${" + "a" * (LENGTH_LIMIT + 1) + "}", f"has {LENGTH_LIMIT + 1} characters and at most {LENGTH_LIMIT}"),
    ],
)
def test_what_is_no_template_says_where_and_the_fix(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_only_a_text_that_is_one_expression_has_only_that():
    assert parse("${a}").only == Hole("a", 2)
    assert parse(" ${a}").only is None
    assert parse("${a}${b}").only is None
    assert parse("$${a}").only is None


@given(st.text())
def test_every_text_is_taken_apart_or_refused(text):
    try:
        template = parse(text)
    except ExpressionError:
        return
    for hole in template.holes:
        assert text[hole.offset - 2 : hole.offset] == "${"
        assert text[hole.offset :].startswith(hole.source + "}")


@given(st.text(st.characters(blacklist_characters="$")))
def test_a_text_without_a_dollar_is_itself(text):
    assert "".join(parse(text).parts) == text


@given(st.lists(st.one_of(st.text("ab{}'\" \n"), st.just(None)), max_size=6))
def test_escaping_gives_any_text_back(pieces):
    text = "".join("$${" if piece is None else piece for piece in pieces)
    assert "".join(parse(text).parts) == text.replace("$${", "${")
