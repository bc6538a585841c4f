"""Where the expressions stand in a text.

`${` opens one, the `}` that belongs to it closes it: braces inside it are counted, and those within CEL's string
literals and comments are not. `$${` is a literal `${`. Nothing is evaluated here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flowweaver.errors import ExpressionError

LENGTH_LIMIT = 4096
"""Characters of one expression. What needs more is a `python` task."""

# What opens three quotes is closed by three: were one tried instead, each opening would be looked after to the end.
_STRING = re.compile(
    r"""
    [bB]?[rR][bB]?(?: \"{3}.*?\"{3} | '{3}.*?'{3} | "(?!"")[^"\n]*" | '(?!'')[^'\n]*' )     # raw: no escapes
    | \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3}
    | "(?!"")(?:\\.|[^"\\\n])*" | '(?!'')(?:\\.|[^'\\\n])*'
    """,
    re.VERBOSE | re.DOTALL,
)
_WORD = re.compile(r"[A-Za-z0-9_]+")
_COMMENT = re.compile(r"//[^\n]*")


@dataclass(frozen=True, slots=True)
class Hole:
    """One expression and where its text begins: a position counted from 0."""

    source: str
    offset: int


@dataclass(frozen=True, slots=True)
class Template:
    """A text taken apart: literal pieces (already unescaped, never empty) and expressions, in order."""

    text: str
    parts: tuple[str | Hole, ...]

    @property
    def holes(self) -> tuple[Hole, ...]:
        """The expressions."""
        return tuple(part for part in self.parts if isinstance(part, Hole))

    @property
    def only(self) -> Hole | None:
        """The expression where the text is exactly one and nothing else: its value keeps its type."""
        match self.parts:
            case (Hole() as hole,):
                return hole
            case _:
                return None

    def place(self, offset: int) -> str:
        """How to tell somebody where that position is: "column 7", or "line 2, column 7"; both counted from 1."""
        return place(self.text, offset)


def parse(text: str) -> Template:
    """Take `text` apart; raises `ExpressionError` where an expression is not closed, empty or too long."""
    parts: list[str | Hole] = []
    literal: list[str] = []
    position = 0
    while (found := text.find("$", position)) >= 0:
        literal.append(text[position:found])
        if text.startswith("$${", found):
            literal.append("${")
            position = found + 3
        elif text.startswith("${", found):
            hole = _hole(text, found)
            parts += _joined(literal)
            parts.append(hole)
            literal = []
            position = hole.offset + len(hole.source) + 1
        else:
            literal.append("$")
            position = found + 1
    literal.append(text[position:])
    parts += _joined(literal)
    return Template(text, tuple(parts))


def place(text: str, offset: int) -> str:
    """Where a position is, in words."""
    line = text.count("\n", 0, offset)
    column = offset - (text.rfind("\n", 0, offset) + 1) + 1
    return f"line {line + 1}, column {column}" if "\n" in text.rstrip("\n") else f"column {column}"


def _joined(literal: list[str]) -> list[str]:
    whole = "".join(literal)
    return [whole] if whole else []


def _hole(text: str, opened: int) -> Hole:
    start = opened + 2
    end = _closing(text, opened)
    source = text[start:end]
    if not source.strip():
        raise ExpressionError(
            f"the expression at {place(text, opened)} is empty: write one between the braces, or $${{ for a literal ${{"
        )
    if len(source) > LENGTH_LIMIT:
        raise ExpressionError(
            f"the expression at {place(text, opened)} has {len(source)} characters and at most {LENGTH_LIMIT} are "
            "allowed: compute it in a python task"
        )
    return Hole(source, start)


def _closing(text: str, opened: int) -> int:
    """The position of the brace that closes what `opened` opened."""
    depth = 0
    position = opened + 2
    while position < len(text):
        skipped = _STRING.match(text, position) or _WORD.match(text, position) or _COMMENT.match(text, position)
        if skipped:
            position = skipped.end()
            continue
        character = text[position]
        if character in "\"'":
            raise ExpressionError(
                f"the expression at {place(text, opened)} has a text that is not closed: add the missing {character}"
            )
        if character == "{":
            depth += 1
        elif character == "}":
            if not depth:
                return position
            depth -= 1
        position += 1
    raise ExpressionError(
        f"the expression at {place(text, opened)} is not closed: add the missing }} (or write $${{ for a literal ${{)"
    )
