"""CEL itself: the one place that knows the library.

The library is fast and bounds steps and recursion, but it has edges that are filed off here and in `values` and `cost`:
what goes wrong comes back as a value of type ERROR, a number past 64 bits anywhere in a variable spoils every
expression, a text ends at its first NUL, and int and double do not mix. Nothing here knows templates or tasks.
"""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from flowweaver.errors import ExpressionError
from flowweaver.expressions.cost import check_cost
from flowweaver.expressions.explaining import explain
from flowweaver.expressions.metering import Meter
from flowweaver.expressions.reading import Read, plain_path, reads
from flowweaver.expressions.syntax import Tree, decode
from flowweaver.expressions.unpacking import unpacked

ROOTS = ("params", "tasks", "workflow", "error", "attempt", "response")
"""Every name that may be in scope anywhere; which of them are depends on the field."""

_SHORT = 256  # characters
_CACHED = 2048
_CACHED_LONG = 64
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
    reads: tuple[Read, ...]
    path: Read | None  # where it is a path and nothing else
    compiled: Any

    def evaluate(self, variables: Mapping[str, Any], meter: Meter) -> Any:
        """The value as plain Python. Raises `ExpressionError` for what the language calls an error, and for what
        could cost too much.
        """
        meter.read(check_cost(self.tree.root, variables))
        try:
            value = self.compiled.eval(data=dict(variables))
            failed = value.type() == cel.Type.ERROR
            plain = str(value.value()) if failed else unpacked(value, self.tree.root)
        except ExpressionError:
            raise
        except Exception as exc:  # what the library raises is whatever its C++ does
            raise ExpressionError(explain(str(exc))) from exc
        if failed:
            raise ExpressionError(explain(plain))
        return plain


def parse_source(source: str) -> Program:
    """An expression that can be evaluated, its types not checked; raises `SourceError`.

    The newest 2,048 short ones are kept and 64 long ones: of the longest, each takes most of a megabyte.
    """
    return _parsed_short(source) if len(source) <= _SHORT else _parsed_long(source)


def _parsed(source: str) -> Program:
    try:
        source.encode()
        compiled = _environments().running.compile(source, disable_check=True)
        tree = decode(compiled.serialize())
    except UnicodeEncodeError as exc:
        raise SourceError("the text is no valid Unicode: remove the lone surrogate", exc.start) from exc
    except ValueError as exc:
        raise SourceError(str(exc), 0) from exc
    except RuntimeError as exc:
        raise _source_error(source, str(exc)) from exc
    return Program(source, tree, tuple(reads(tree)), plain_path(tree), compiled)


_parsed_short = lru_cache(maxsize=_CACHED)(_parsed)
_parsed_long = lru_cache(maxsize=_CACHED_LONG)(_parsed)


@lru_cache(maxsize=_CACHED)
def check_types(source: str) -> None:
    """Raise `SourceError` where the types of what is written out, or the names, can not be right."""
    try:
        _environments().checking.compile(source)
    except RuntimeError as exc:
        raise _source_error(source, str(exc)) from exc


@dataclass(frozen=True, slots=True)
class _Environments:
    """Two, because the running one has comparisons of mixed numbers that its own type check does not know."""

    checking: Any
    running: Any


_lock = threading.Lock()


def _environments() -> _Environments:
    with _lock:
        return _build_environments()


@cache
def _build_environments() -> _Environments:
    return _Environments(
        _environment(_mixed_numbers(_SUMS) + _mixed_numbers(_COMPARISONS)), _environment(_mixed_numbers(_SUMS))
    )


def _environment(mixed: list[Any]) -> Any:
    return cel.NewEnv(
        variables=dict.fromkeys(ROOTS, cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(), ext_optional.ExtOptional(), cel.CelExtension("mixed_numbers", mixed)],
    )


def _mixed_numbers(operators: Mapping[str, tuple[Any, Any]]) -> list[Any]:
    """`2 * 1.5` and `double(x) > 3`: JSON does not say whether a number is an int, so nothing may depend on it."""
    pairs = ((cel.Type.INT, cel.Type.DOUBLE), (cel.Type.DOUBLE, cel.Type.INT))
    return [
        cel.FunctionDecl(name, [_overload(name, list(pair), result, apply) for pair in pairs])
        for name, (apply, result) in operators.items()
    ]


def _overload(name: str, types: list[Any], result: Any, apply: Callable[[float, float], Any]) -> Any:
    return cel.Overload(
        f"mixed{name}{types[0].name()}".lower(),
        return_type=result,
        parameters=types,
        impl=lambda left, right: apply(float(left), float(right)),
    )


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    return float("nan") if not left or left != left else float("inf") * left  # noqa: PLR0124  NaN is not itself


_SUMS = {
    "_+_": (operator.add, cel.Type.DOUBLE),
    "_-_": (operator.sub, cel.Type.DOUBLE),
    "_*_": (operator.mul, cel.Type.DOUBLE),
    "_/_": (_divide, cel.Type.DOUBLE),
}
_COMPARISONS = {
    "_<_": (operator.lt, cel.Type.BOOL),
    "_<=_": (operator.le, cel.Type.BOOL),
    "_>_": (operator.gt, cel.Type.BOOL),
    "_>=_": (operator.ge, cel.Type.BOOL),
    "_==_": (operator.eq, cel.Type.BOOL),
    "_!=_": (operator.ne, cel.Type.BOOL),
}


def _source_error(source: str, message: str) -> SourceError:
    found = _LINE.search(message)
    if not found:
        return SourceError(explain(message), 0)
    line, column = int(found[1]), int(found[2])
    starts = [0, *(match.end() for match in re.finditer("\n", source))]
    offset = starts[min(line, len(starts)) - 1] + column - 1 if line > 0 and column > 0 else 0
    offset = min(offset, len(source))
    return SourceError(explain(found[3], called=source[offset : offset + 1] == "("), offset)
