"""CEL itself: the one place that knows the library.

The library is fast and bounded (iterations, recursion), but it has edges that are filed off here: what goes wrong comes
back as a value of type ERROR, a number past 64 bits anywhere in a variable spoils every expression, a text ends at
its first NUL, and int and double do not mix. Nothing here knows templates or tasks.
"""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from flowweaver.errors import ExpressionError
from flowweaver.expressions.syntax import Tree, decode

ROOTS = ("params", "tasks", "workflow", "error", "attempt", "response")
"""Every name that may be in scope anywhere; which of them are depends on the field."""

_CACHED = 2048
_LINE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")


class SourceError(ExpressionError):
    """The expression's own text is wrong. `offset` is where, counted from 0 within the expression."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled expression. Immutable and usable from any thread."""

    source: str
    tree: Tree
    compiled: Any

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The value as plain Python; what the language calls an error is raised as `ExpressionError`."""
        try:
            value = self.compiled.eval(data=dict(variables))
            if value.type() == cel.Type.ERROR:
                raise ExpressionError(explain(str(value.value())))
            return value.plain_value()
        except (RuntimeError, TypeError, ValueError, OverflowError) as exc:
            raise ExpressionError(explain(str(exc))) from exc


@lru_cache(maxsize=_CACHED)
def compile_source(source: str) -> Program:
    """Compile an expression; raises `SourceError`. The newest 2,048 are kept."""
    try:
        source.encode()
    except UnicodeEncodeError as exc:
        raise SourceError("the text is no valid Unicode: remove the lone surrogate", exc.start) from exc
    environment = _environment()
    try:
        tree = decode(environment.compile(source, disable_check=True).serialize())
        return Program(source, tree, environment.compile(source))
    except RuntimeError as exc:
        raise _source_error(source, str(exc)) from exc


_lock = threading.Lock()
_environments: list[Any] = []


def _environment() -> Any:
    with _lock:
        if not _environments:
            _environments.append(
                cel.NewEnv(
                    variables=dict.fromkeys(ROOTS, cel.Type.DYN),
                    extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional(), _mixed_numbers()],
                )
            )
        return _environments[0]


def _mixed_numbers() -> Any:
    """`2 * 1.5`: JSON does not say whether a number is an int, so that a sum must not depend on it."""
    operators: dict[str, tuple[Callable[[float, float], Any], Any]] = {
        "_+_": (operator.add, cel.Type.DOUBLE),
        "_-_": (operator.sub, cel.Type.DOUBLE),
        "_*_": (operator.mul, cel.Type.DOUBLE),
        "_/_": (_divide, cel.Type.DOUBLE),
    }
    pairs = {"int_double": [cel.Type.INT, cel.Type.DOUBLE], "double_int": [cel.Type.DOUBLE, cel.Type.INT]}
    return cel.CelExtension(
        "mixed_numbers",
        [
            cel.FunctionDecl(
                name,
                [
                    cel.Overload(
                        f"{apply.__name__}_{pair}",
                        return_type=result,
                        parameters=types,
                        impl=lambda left, right, apply=apply: apply(float(left), float(right)),
                    )
                    for pair, types in pairs.items()
                ],
            )
            for name, (apply, result) in operators.items()
        ],
    )


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return float("nan") if not left or left != left else float("inf") * left  # noqa: PLR0124  NaN is not itself


def _source_error(source: str, message: str) -> SourceError:
    found = _LINE.search(message)
    if not found:
        return SourceError(explain(message), 0)
    line, column = int(found[1]), int(found[2])
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    offset = starts[min(line, len(starts)) - 1] + column - 1 if line > 0 and column > 0 else 0
    return SourceError(explain(found[3]), min(offset, len(source)))


_OPERATORS = re.compile(
    r"(?:No matching overloads found : |found no matching overload for ')([^('\s]+)'?(?: applied to ')?(.*)"
)
_KEY = re.compile(r'Key not found in map : "?(.*?)"?$')
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")


def explain(message: str) -> str:
    """What the library says, in one sentence for somebody who wrote a manifest."""
    text = re.sub(r"\s*\[[A-Z_]+\]\s*$", "", message.strip())
    text = re.sub(r"^[A-Z_]+: ", "", text)
    text = re.sub(r"^Syntax error: ", "", text.split("\n", 1)[0])
    if found := _KEY.match(text):
        return f'there is no "{found[1]}" in it: test with has(…) first, or give a default with .?{found[1]}.orValue(…)'
    if found := _UNDECLARED.search(text):
        return f'nothing is named "{found[1]}" here'
    if found := _OPERATORS.search(text):
        return _mismatch(found[1], found[2].strip("'() "))
    for part, better in _SENTENCES.items():
        if part in text:
            return better
    return re.sub(r" expecting \{.*", "", text)


_SENTENCES = {
    "Iteration budget exceeded": "it takes more than 10,000 steps: filter earlier, or compute it in a python task",
    "recursion": "it is nested or chained more than 32 deep: split it up over several value tasks",
    "mismatched input '<EOF>'": "it ends too early: something is missing at its end",
    "divide by zero": "it divides by zero",
    "integer overflow": "a whole number does not fit into 64 bits: calculate with double(…)",
    "non-message type": "a field is asked of something that has none: only maps have fields",
    "Invalid container type": "an index is asked of something that is no list and no map",
}


def _mismatch(function: str, types: str) -> str:
    types = types.replace("int64", "int").replace("null_type", "null").replace("uint", "uint")
    symbol = function.strip("_").replace("_", " ").strip()
    if function in {"<jump_condition>", "_&&_", "_||_", "!_", "_?_:_"}:
        return "a condition must be true or false: compare with ==, > or the like"
    shown = f"({types})" if types else ""
    return f'"{symbol}" does not work on {shown or "these types"}: convert with string(…), int(…) or double(…)'
