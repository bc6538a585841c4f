"""`python`: a function of a module, or source that defines one, in this thread or in a process of its own.

In a thread the body shares everything with the engine and can only be asked to stop. In a process it gets a clean
environment and is killed, with all that it started, when nobody waits for it any more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import traceback

from flowweaver.core.events import Completed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.expressions import scope_of
from flowweaver.policy import Isolation, Policy, UnsafeBody
from flowweaver.ports import Attempt
from flowweaver.runners import bodies
from flowweaver.runners.current import CurrentTask, running
from flowweaver.runners.environment import whole_environment
from flowweaver.runners.failures import Refused, failed, failure_of, is_interrupt
from flowweaver.runners.fields import bad_field, rendered
from flowweaver.runners.functions import COMPLETED, Call, call, check_function, result_limit
from flowweaver.runners.launcher import PYTHON
from flowweaver.runners.proc import directory
from flowweaver.runners.processes import Child
from flowweaver.runners.results import encode_result

log = logging.getLogger(__name__)

_MORE = 1 + 65_536  # bytes of an answer beside a result; a failure with its traceback is far below
_EVERY_ERROR = {"builtins.Exception", "builtins.BaseException"}


def run_python(attempt: Attempt, policy: Policy) -> Outcome:
    """Call the function with `args` and the results of the dependencies; its result is the outcome."""
    try:
        isolation = _allowed_isolation(attempt, policy)
        wanted = _call_of(attempt, policy)
    except Refused as exc:
        return failure_of(exc)
    if isolation is Isolation.PROCESS:
        return _call_in_process(attempt, wanted)
    return _call_here(attempt, wanted)


def _call_here(attempt: Attempt, wanted: Call) -> Outcome:
    try:
        with running(CurrentTask.of(attempt)):
            return Completed(call(wanted, attempt.cancellation))
    except BaseException as exc:  # SystemExit and the like are the body's failure, not this thread's
        if is_interrupt(exc):
            raise
        if not isinstance(exc, Refused) and log.isEnabledFor(logging.DEBUG):
            _tell_where(attempt.task.name, type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
        return failure_of(exc)


def _call_in_process(attempt: Attempt, wanted: Call) -> Outcome:
    try:
        work = _work(attempt, wanted)
        with Child(attempt, PYTHON) as child:
            child.send(work)
            limit = result_limit(wanted.policy)
            answer = child.answer(limit=limit + _MORE)
            return _outcome(attempt, child, answer, limit)
    except Refused as exc:
        return failure_of(exc)


def _work(attempt: Attempt, wanted: Call) -> bytes:
    return bodies.pack(
        {
            "function": wanted.function,
            "source": wanted.source,
            "arguments": wanted.arguments,
            "results": list(wanted.results),
            "missing": wanted.missing,
            "functions": wanted.policy.functions,
            "environment": whole_environment() if wanted.policy.whole_environment else None,
            "limit": result_limit(wanted.policy),
            "retryOn": attempt.task.body.get("retryOn"),
            "task": attempt.task.name,
            "attempt": attempt.id.number,
            "key": attempt.idempotency_key,
            "path": sys.path,
            "directory": directory(),
        },
        list(wanted.results.values()),
    )


def _outcome(attempt: Attempt, child: Child, answer: bytes | None, limit: int) -> Outcome:
    """What the child said, as far as it is what a child may say; else how it ended."""
    if answer is not None:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            return _read_answer(attempt, answer, limit)
        return _died(attempt, "the process of this task sent something that is no answer")
    if attempt.cancellation.requested:
        return cancelled(child)
    hint = "; that is what happens where memory runs out" if child.exit is not None and child.exit.killed else ""
    return _died(attempt, f"the process of this task {child.exit} without an answer{hint}")


def _died(attempt: Attempt, message: str) -> Outcome:
    """An end without an exception: another attempt is made where every one is worth that."""
    retry_on = attempt.task.body.get("retryOn")
    again = retry_on is None or not _EVERY_ERROR.isdisjoint(retry_on)
    return failed(Reason.TASK_FAILED, "ProcessDied", message, retryable=again)


def _read_answer(attempt: Attempt, answer: bytes, limit: int) -> Outcome:
    kind, content = answer[:1], answer[1:]
    if kind == bodies.COMPLETED:
        # Code of the task may have written to the socket: nothing but what this process would write reaches the store.
        return Completed(encode_result(json.loads(content), limit=limit))
    if kind != bodies.FAILED:
        raise ValueError(kind)
    failure, trace = bodies.read_failure(content)
    if trace:
        _tell_where(attempt.task.name, failure.error_type, trace)
    return failed(Reason(failure.reason), failure.error_type, failure.message, retryable=failure.retryable)


def _tell_where(task: str, error_type: str, trace: str) -> None:
    """Where, and not what: the text of an error may hold what is not for a log."""
    log.debug('task "%s" raised %s:\n%s', task, error_type, trace)


def cancelled(child: Child) -> Outcome:
    """The outcome of a process that was ended because nobody waits for it any more."""
    return failed(Reason.TERMINATED, "Cancelled", f"stopped on request: its process {child.exit}")


def _allowed_isolation(attempt: Attempt, policy: Policy) -> Isolation:
    """Where the body runs, if the policy allows it; raises `Refused`."""
    body = attempt.task.body
    isolation = Isolation(body.get("isolation") or policy.default_isolation)
    if isolation is Isolation.THREAD and not policy.allows_body(UnsafeBody.THREAD):
        raise switched_off("python with isolation: Thread", UnsafeBody.THREAD)
    if body.get("function"):
        check_function(body["function"], policy)
    elif not policy.allows_body(UnsafeBody.PYTHON_SOURCE):
        raise switched_off("python.source", UnsafeBody.PYTHON_SOURCE)
    return isolation


def switched_off(what: str, body: UnsafeBody) -> Refused:
    """A kind of body that the policy does not allow."""
    return Refused(
        Reason.BODY_NOT_ALLOWED,
        f"{what} is not allowed here: an administrator can allow it with --unsafe-bodies {body}",
    )


def _call_of(attempt: Attempt, policy: Policy) -> Call:
    body = attempt.task.body
    arguments = rendered(body.get("args") or {}, scope_of(attempt), "python.args")
    if not isinstance(arguments, dict):
        raise bad_field("python.args", f"a map of parameters is needed, not {type(arguments).__name__}")
    known = attempt.dependencies.items()
    return Call(
        function=body.get("function") or "",
        source=body.get("source") or "",
        arguments=arguments,
        results={name: each.result for name, each in known if each.phase == COMPLETED and each.result is not None},
        missing={name: each.phase for name, each in known if each.phase != COMPLETED or each.result is None},
        policy=policy,
        unique="_".join(str(part) for part in attempt.id),
    )
