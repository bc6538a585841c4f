"""`value` and `outputs`: data that is shaped by expressions alone. No code of a user runs here."""

from __future__ import annotations

from flowweaver.core.events import Completed, Outcome
from flowweaver.expressions import scope_of
from flowweaver.ports import Attempt
from flowweaver.runners.failures import Refused, failure_of
from flowweaver.runners.fields import rendered
from flowweaver.runners.results import encode_result


def run_value(attempt: Attempt) -> Outcome:
    """The value, with its expressions evaluated."""
    try:
        value = rendered(attempt.task.body.get("value"), scope_of(attempt), "value")
        return Completed(encode_result(value, name="value"))
    except Refused as exc:
        return failure_of(exc)


def run_outputs(attempt: Attempt) -> Outcome:
    """The run's outputs in the order of the manifest: `[{"name": …, "value": …}]`."""
    scope = scope_of(attempt)
    try:
        outputs = [
            {"name": output["name"], "value": rendered(output["value"], scope, f'outputs["{output["name"]}"].value')}
            for output in attempt.task.body["outputs"]
        ]
        return Completed(encode_result(outputs, name="outputs"))
    except Refused as exc:
        return failure_of(exc)
