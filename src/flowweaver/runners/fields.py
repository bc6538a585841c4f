"""The fields of a body, with their expressions evaluated, and what is wrong with them said with their path."""

from __future__ import annotations

from typing import Any

from flowweaver.core.phases import Reason
from flowweaver.errors import ExpressionError
from flowweaver.expressions import Scope, render
from flowweaver.runners.failures import Refused


def rendered(value: Any, scope: Scope, path: str) -> Any:
    """`value` with every expression in it evaluated; raises `Refused` with the reason ExpressionError.

    `path` is the field as its user would write it within the task: `python.args`.
    """
    try:
        return render(value, scope, path)
    except ExpressionError as exc:
        raise Refused(Reason.EXPRESSION_ERROR, str(exc)) from exc


def bad_field(path: str, message: str) -> Refused:
    """A field whose value only the run could know, and which can not be used."""
    return Refused(Reason.EXPRESSION_ERROR, f"{path}: {message}")
