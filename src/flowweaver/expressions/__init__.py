"""What `${…}` in a manifest means: find expressions, check them before anything runs, evaluate them within bounds.

The language is CEL. Only this room knows the library that evaluates it; nothing here knows what a manifest is.
"""

from flowweaver.errors import ExpressionError
from flowweaver.expressions.checks import Finding, Names, check, references
from flowweaver.expressions.rendering import render, truth
from flowweaver.expressions.scopes import Scope, scope_of
from flowweaver.expressions.templates import Hole, Template, parse

__all__ = [
    "ExpressionError",
    "Finding",
    "Hole",
    "Names",
    "Scope",
    "Template",
    "check",
    "parse",
    "references",
    "render",
    "scope_of",
    "truth",
]
