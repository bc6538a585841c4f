"""The reasons of problems: one word each, shown as the reason of the condition `Accepted`."""

from __future__ import annotations

INVALID_SPEC = "InvalidSpec"  # a value that can not be
UNKNOWN_FIELD = "UnknownField"  # a field that is not there, or not yet
INVALID_GRAPH = "InvalidGraph"  # a cycle, a task that depends on itself
UNKNOWN_DEPENDENCY = "UnknownDependency"
DUPLICATE_NAME = "DuplicateName"
INVALID_EXPRESSION = "InvalidExpression"
BODY_NOT_ALLOWED = "BodyNotAllowed"
TOO_LARGE = "TooLarge"
