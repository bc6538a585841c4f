"""The kinds of fields that manifests are made of, each with its bounds; models and the CRD share them.

`Templated` marks where an expression may stand. Every text and list is bounded: the API server can only afford rules
over what is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from flowweaver.manifest import durations

NAME_PATTERN = r"^[a-z][a-z0-9]*([-_][a-z0-9]+)*$"
PARAM_PATTERN = r"^[A-Za-z][A-Za-z0-9]*([-_][A-Za-z0-9]+)*$"
ENVIRONMENT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
HEADER_PATTERN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # a token, RFC 9110
FUNCTION_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
URL_PATTERN = r"^(https?://|[$][{])"

TASKS_LIMIT = 1000
DEPENDENCIES_LIMIT = 64
CODE_LIMIT = 65536
TEXT_LIMIT = 32768


class Part(BaseModel):
    """A part of a manifest: immutable, closed, in camelCase, types as the API server checks them."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Templated:
    """Marks a field in which expressions may stand, with the names that they may read."""

    roots: frozenset[str] = frozenset({"params", "tasks", "workflow"})


def _duration(text: str) -> str:
    durations.seconds(text)
    return text


def _positive_duration(text: str) -> str:
    if not durations.seconds(text):
        raise ValueError(f"{durations.quoted(text)} is no time at all: write a longer one, or leave the field out")
    return text


_duration_schema = WithJsonSchema({"type": "string", "minLength": 2, "maxLength": 40, "pattern": durations.PATTERN})

Duration = Annotated[str, Field(max_length=40), AfterValidator(_duration), _duration_schema]
PositiveDuration = Annotated[str, Field(max_length=40), AfterValidator(_positive_duration), _duration_schema]
AnyJson = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True, "nullable": True})]
JsonMap = Annotated[
    dict[str, Any],
    # Untyped too: equality of free maps lets changes pass at the API server.
    WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True, "nullable": True}),
]
TaskName = Annotated[str, Field(max_length=63, pattern=NAME_PATTERN)]
ParamName = Annotated[str, Field(max_length=63, pattern=PARAM_PATTERN)]
Description = Annotated[str, Field(max_length=1024)]
Text = Annotated[str, Field(max_length=TEXT_LIMIT)]
Code = Annotated[str, Field(min_length=1, max_length=CODE_LIMIT)]

TEMPLATED = Templated()
AFTER_FAILURE = Templated(frozenset({"params", "tasks", "workflow", "error", "attempt"}))
AFTER_RESPONSE = Templated(frozenset({"params", "tasks", "workflow", "response"}))
