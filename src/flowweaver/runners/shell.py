"""`shell`: a command, or a script for /bin/sh.

An expression in `command` is one argument and is never read again by a shell; a `script` is literal, and values enter
it through `env`. A script runs with `sh -e`: it ends at the first command that fails. The program has a session, a
clean environment and no standard input; what it leaves running is killed when it ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from flowweaver.core.events import Completed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.errors import ExpressionError
from flowweaver.expressions import Scope, scope_of
from flowweaver.expressions.values import as_text
from flowweaver.policy import Policy, UnsafeBody
from flowweaver.ports import Attempt
from flowweaver.runners import bodies
from flowweaver.runners.environment import clean_environment
from flowweaver.runners.failures import Refused, failed, failure_of
from flowweaver.runners.fields import bad_field, rendered
from flowweaver.runners.launcher import PROGRAM
from flowweaver.runners.proc import directory
from flowweaver.runners.processes import Child
from flowweaver.runners.python import cancelled, switched_off
from flowweaver.runners.results import encode_result
from flowweaver.runners.streams import Output, Streams

_SHELL = ("/bin/sh", "-e", "-c")
_LAST_LINES = 10  # of standard error, in the message of a failure


def run_shell(attempt: Attempt, policy: Policy) -> Outcome:
    """Run the program; its exit code decides, and `resultFrom` says what the result is."""
    try:
        if not policy.allows_body(UnsafeBody.SHELL):
            raise switched_off("shell", UnsafeBody.SHELL)
        scope = scope_of(attempt)
        command = _command(attempt.task.body, scope)
        environment = _environment(attempt, scope)
        return _run(attempt, command, environment)
    except Refused as exc:
        return failure_of(exc)


def _run(attempt: Attempt, command: list[str], environment: dict[str, str]) -> Outcome:
    with Streams() as streams, Child(attempt, PROGRAM, streams.theirs) as child:
        streams.close_theirs()
        header = {"command": command, "environment": environment, "directory": directory()}
        child.send(bodies.pack(header, []))
        said = streams.collect(child)
        if attempt.cancellation.requested:
            return cancelled(child)
        if said:
            raise _not_started(command, said)
        return _outcome(attempt.task.body, child, streams.stdout, streams.stderr)


def _outcome(body: Any, child: Child, stdout: Output, stderr: Output) -> Outcome:
    assert child.exit is not None
    code = child.exit.code
    if child.exit.lost or code not in (body.get("successExitCodes") or [0]):
        last = "\n".join(stderr.text().splitlines()[-_LAST_LINES:]).strip()
        return failed(
            Reason.TASK_FAILED,
            "ExitCode",
            f"the program {child.exit}" + (f": {last}" if last else ", and wrote nothing to standard error"),
        )
    return Completed(_result(body.get("resultFrom"), code, stdout, stderr))


def _result(result_from: str | None, code: int, stdout: Output, stderr: Output) -> bytes:
    if stdout.cut and result_from != "LastLine":
        raise Refused(
            Reason.RESULT_TOO_LARGE,
            f"the program wrote {stdout.total} bytes to standard output, and at most {stdout.limit} are kept: "
            "send the output to a file, or set resultFrom: LastLine",
        )
    match result_from:
        case "Stdout":
            return encode_result(stdout.text().rstrip("\n"))
        case "LastLine":
            return encode_result((stdout.text().splitlines() or [""])[-1])
        case "Json":
            return encode_result(_parsed(stdout.text()))
        case _:
            return encode_result({"exitCode": code, "stdout": stdout.text(), "stderr": stderr.text()})


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise Refused(
            Reason.RESULT_NOT_JSON,
            f"resultFrom is Json, and standard output is no JSON: {exc}; it begins with {text[:100]!r}",
        ) from exc


def _command(body: Any, scope: Scope) -> list[str]:
    if body.get("script") is not None:
        return [*_SHELL, _without_nul("shell.script", body["script"]), "sh"]
    words: Sequence[Any] = body.get("command") or []
    command = []
    for index, word in enumerate(words):
        path = f"shell.command[{index}]"
        command.append(_text(path, rendered(word, scope, path)))
    if not command or not command[0]:
        raise bad_field("shell.command", "the first item must name a program")
    return command


def _environment(attempt: Attempt, scope: Scope) -> dict[str, str]:
    environment = clean_environment() | {
        "FLOWWEAVER_TASK": attempt.task.name,
        "FLOWWEAVER_ATTEMPT": str(attempt.id.number),
        "FLOWWEAVER_IDEMPOTENCY_KEY": attempt.idempotency_key,
    }
    for entry in attempt.task.body.get("env") or []:
        name, path = entry["name"], f'shell.env["{entry["name"]}"]'
        if not name or "=" in name or "\0" in name:
            raise bad_field(path, "a name of the environment has no = and is not empty")
        if "value" not in entry:
            raise bad_field(path, "it has no value")
        environment[name] = _text(path, rendered(entry["value"], scope, path))
    return environment


def _text(path: str, value: Any) -> str:
    try:
        return _without_nul(path, as_text(value))
    except ExpressionError as exc:
        raise bad_field(path, str(exc)) from exc


def _without_nul(path: str, text: str) -> str:
    if "\0" in text:
        raise bad_field(path, "programs can not be given a text with a NUL character in it")
    return text


def _not_started(command: list[str], said: bytes) -> Refused:
    number = json.loads(said)["errno"]
    return Refused(
        Reason.TASK_FAILED,
        f'the program "{command[0]:.200}" can not be run: {os.strerror(number)}; check that it is installed where this '
        "runs and that its arguments are not too long",
        error_type="ProgramNotStarted",
    )
