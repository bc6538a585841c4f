"""`value` and `outputs`: data that is shaped by expressions alone. No code of a user runs here."""

from __future__ import annotations

import sys
from typing import Any

from flowweaver.core.events import Completed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.expressions import Scope, scope_of
from flowweaver.ports import Attempt
from flowweaver.runners.failures import Refused, failure_of
from flowweaver.runners.fields import rendered
from flowweaver.runners.results import encode_result

_LARGEST = int(sys.float_info.max)


def run_value(attempt: Attempt) -> Outcome:
    """The value, with its expressions evaluated."""
    try:
        value = rendered(attempt.task.body.get("value"), scope_of(attempt), "value")
        return Completed(encode_result(value, name="value"))
    except Refused as exc:
        return failure_of(exc)


def _shown(output: Any, scope: Scope) -> Any:
    """The value of one output. It will stand in the status, where one that the API server does not read would keep all
    of the status from being written.
    """
    path = f'outputs["{output["name"]}"].value'
    value = rendered(output["value"], scope, path)
    if _has_endless_number(value):
        raise Refused(
            Reason.RESULT_NOT_JSON,
            f"{path} holds a whole number of more than 308 digits, which Kubernetes can not read: write string(…) in "
            "the task that makes it",
        )
    return value


def _has_endless_number(value: Any) -> bool:
    match value:
        case bool():
            return False
        case int():
            return abs(value) > _LARGEST
        case dict():
            return any(map(_has_endless_number, value.values()))
        case list():
            return any(map(_has_endless_number, value))
        case _:
            return False


def run_outputs(attempt: Attempt) -> Outcome:
    """The run's outputs in the order of the manifest: `[{"name": …, "value": …}]`."""
    scope = scope_of(attempt)
    try:
        outputs = [{"name": output["name"], "value": _shown(output, scope)} for output in attempt.task.body["outputs"]]
        return Completed(encode_result(outputs, name="outputs"))
    except Refused as exc:
        return failure_of(exc)
