"""Running one attempt, whatever its kind: the runner of that kind, then the task's own word on retrying."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowweaver.core.events import Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.core.records import replace
from flowweaver.errors import ExpressionError
from flowweaver.expressions import scope_of, truth
from flowweaver.ports import Attempt, Runner
from flowweaver.runners.failures import failed, failure_of, is_interrupt, storable


def attempt_runner(runners: Mapping[str, Runner]) -> Callable[[Attempt], Outcome]:
    """A function that runs an attempt. It raises nothing but Ctrl-C: a `KeyboardInterrupt` on the main thread."""

    def run(attempt: Attempt) -> Outcome:
        runner = runners.get(attempt.task.kind)
        if runner is None:
            return failed(
                Reason.BODY_NOT_ALLOWED,
                "UnknownKind",
                f'no runner is known for the kind "{attempt.task.kind}"; there are {", ".join(sorted(runners))}',
                retryable=False,
            )
        try:
            outcome = runner(attempt)
        except BaseException as exc:  # what slips through a runner is still this attempt's failure
            if is_interrupt(exc):
                raise
            outcome = failure_of(exc)
        return _asked(attempt, outcome) if isinstance(outcome, Failed) else outcome

    return run


def _asked(attempt: Attempt, outcome: Failed) -> Failed:
    """The failure, with `retry.when` asked where there is something to ask."""
    when = attempt.task.retry.when
    if when is None or not outcome.retryable or not attempt.task.retry.limit:
        return outcome
    error = {"type": outcome.error_type, "message": outcome.message}
    try:
        again = truth(when, scope_of(attempt).adding(error=error, attempt=attempt.id.number), "retry.when")
    except ExpressionError as exc:
        return replace(outcome, retryable=False, message=storable(f"{outcome.message} (no retry: {exc})"))
    return outcome if again else replace(outcome, retryable=False)
