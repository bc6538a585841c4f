"""What a task does: one model for each kind of body."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from flowweaver.manifest.fields import (
    AFTER_RESPONSE,
    CODE_LIMIT,
    ENVIRONMENT_PATTERN,
    FUNCTION_PATTERN,
    HEADER_PATTERN,
    TEMPLATED,
    URL_PATTERN,
    AnyJson,
    Code,
    JsonMap,
    Part,
    Text,
)

BODIES = ("value", "python", "http", "shell", "wait")
"""The kinds of bodies of this release, by the field that holds them. A task has exactly one."""


def _status(value: Any) -> Any:
    text = str(value) if type(value) in {int, str} else ""
    if re.fullmatch("[1-5]([0-9][0-9]|xx)", text):
        return value
    raise ValueError('must be a status code such as 200, or a class of them such as "2xx"')


StatusRange = Annotated[
    Any,
    AfterValidator(_status),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": "^[1-5]([0-9][0-9]|xx)$", "maxLength": 3}),
]

ExitCode = Annotated[int, Field(ge=0, le=255)]


class PythonBody(Part):
    """Call a Python function; its arguments are the results of the tasks that this one depends on, and `args`."""

    function: Annotated[str, Field(max_length=253, pattern=FUNCTION_PATTERN)] | None = None
    """The function to call, as `package.module:name`. Exactly one of `function` and `source`."""
    source: Code | None = None
    """Python code that defines a function `main`. Taken as it stands: values enter through `args`."""
    args: Annotated[JsonMap | None, TEMPLATED] = None
    """Arguments by name, any JSON; expressions may stand in it. They win over results of dependencies."""
    isolation: Literal["Thread", "Process"] | None = None
    """Where the code runs. Default: Process in the operator, Thread elsewhere."""


class Header(Part):
    """A header of an HTTP request."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=HEADER_PATTERN)]
    """The header's name."""
    value: Annotated[str, Field(max_length=8192), TEMPLATED] = ""
    """Its value; an expression may stand in it."""


class QueryParameter(Part):
    """A parameter of an HTTP request's query."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """The parameter's name. It may stand several times."""
    value: Annotated[str, Field(max_length=8192), TEMPLATED] = ""
    """Its value; an expression may stand in it."""


class Expectation(Part):
    """When a response counts as good."""

    status: Annotated[list[StatusRange], Field(min_length=1, max_length=32)] | None = None
    """Status codes, such as 200, and classes of them, such as "2xx". Default: ["2xx"]."""
    when: Annotated[str, Field(max_length=4200), AFTER_RESPONSE] | None = None
    """An expression over `response` (`status`, `headers`, `body`) that must give true."""


class HttpBody(Part):
    """Send an HTTP request; the result is `{status, headers, body}`, a JSON body parsed."""

    url: Annotated[str, Field(max_length=8192, pattern=URL_PATTERN), TEMPLATED]
    """Where to; an expression may stand in it."""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] | None = None
    """The request's method. Default: GET."""
    headers: Annotated[list[Header], Field(max_length=64)] | None = None
    """Headers to send, in order."""
    query: Annotated[list[QueryParameter], Field(max_length=64)] | None = None
    """Parameters that are added to the URL, in order."""
    body: Annotated[AnyJson, TEMPLATED] = None
    """What to send: a text as it is, anything else as JSON; expressions may stand in it."""
    expect: Expectation | None = None
    """When the response counts as good; any other one fails the attempt."""
    follow_redirects: bool | None = None
    """Whether to follow redirects; each is checked like the first address. Default: true."""


class EnvironmentVariable(Part):
    """An environment variable of a child process."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=ENVIRONMENT_PATTERN)]
    """The variable's name."""
    value: Annotated[Text, TEMPLATED] = ""
    """Its value; an expression may stand in it."""


class ShellBody(Part):
    """Run a command or a script in a child process; the result is `{exitCode, stdout, stderr}`."""

    command: Annotated[list[Annotated[Text, TEMPLATED]], Field(min_length=1, max_length=256)] | None = None
    """Program and arguments; an expression is one argument, never parsed again. Exactly one of this and `script`."""
    script: Annotated[str, Field(min_length=1, max_length=CODE_LIMIT)] | None = None
    """A shell script. Taken as it stands: values enter through `env`."""
    env: Annotated[list[EnvironmentVariable], Field(max_length=256)] | None = None
    """Environment variables to set."""
    result_from: Literal["Stdout", "Json", "LastLine"] | None = None
    """Take as the result the standard output, what it says as JSON, or its last line."""
    success_exit_codes: (
        Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=1, max_length=64)] | None
    ) = None
    """Exit codes that count as good. Default: [0]."""


class WaitBody(Part):
    """Wait without using a worker, over restarts too; the result is null."""

    duration: Annotated[str, Field(min_length=1, max_length=4200), TEMPLATED] | None = None
    """How long, such as 90s or 1h30m, or an expression. Exactly one of `duration` and `until`."""
    until: Annotated[str, Field(min_length=1, max_length=4200), TEMPLATED] | None = None
    """Until when, in RFC 3339 such as 2030-01-01T00:00:00Z, or an expression."""
