"""The words for where a task and a run stand, and every step between them.

All transitions of a task live in `TRANSITIONS`; the diagram in the docs is drawn from it. A step that is not in the
table raises `IllegalTransition` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from flowweaver.errors import IllegalTransition


class TaskPhase(StrEnum):
    """Where a task stands. SQL and Python spell it like this, Kubernetes with a capital."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    # Set once below: a property would cost a call for each of the many times that the engine asks.
    finished: bool


class RunPhase(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    finished: bool


for _task_phase in TaskPhase:
    _task_phase.finished = _task_phase in {"completed", "failed", "skipped", "cancelled"}
for _run_phase in RunPhase:
    _run_phase.finished = _run_phase in {"completed", "failed", "cancelled"}


class Step(StrEnum):
    """What can happen to a task."""

    START = "start"  # an attempt is handed to a worker
    COMPLETE = "complete"  # it ended well
    FAIL = "fail"  # it ended badly, for good
    RETRY = "retry"  # an attempt failed; another one follows after a delay
    DEFER = "defer"  # the body asked to be completed at a later time
    INTERRUPT = "interrupt"  # the process ended while an attempt was running
    WAKE = "wake"  # the delay before the next attempt is over
    SKIP = "skip"  # its trigger rule can not be met any more
    CANCEL = "cancel"  # the run ends without it
    RESET = "reset"  # a rerun takes it up again


P = TaskPhase
TRANSITIONS: Mapping[tuple[TaskPhase, Step], TaskPhase] = MappingProxyType(
    {
        (P.PENDING, Step.START): P.RUNNING,
        (P.PENDING, Step.SKIP): P.SKIPPED,
        (P.PENDING, Step.CANCEL): P.CANCELLED,
        (P.RUNNING, Step.COMPLETE): P.COMPLETED,
        (P.RUNNING, Step.FAIL): P.FAILED,
        (P.RUNNING, Step.RETRY): P.WAITING,
        (P.RUNNING, Step.DEFER): P.WAITING,
        (P.RUNNING, Step.INTERRUPT): P.PENDING,
        (P.RUNNING, Step.CANCEL): P.CANCELLED,
        (P.WAITING, Step.WAKE): P.PENDING,
        (P.WAITING, Step.COMPLETE): P.COMPLETED,
        (P.WAITING, Step.CANCEL): P.CANCELLED,
        (P.FAILED, Step.RESET): P.PENDING,
        (P.SKIPPED, Step.RESET): P.PENDING,
        (P.CANCELLED, Step.RESET): P.PENDING,
    }
)


class Reason(StrEnum):
    """Why a task or a run is where it is: one word, shown to users as it stands."""

    # waiting
    BACKOFF = "Backoff"
    TIMER = "Timer"
    ATTEMPT_STILL_RUNNING = "AttemptStillRunning"
    # failed
    TASK_FAILED = "TaskFailed"
    TIMEOUT = "Timeout"
    CRASH_LOOP = "CrashLoop"
    INTERRUPTED = "Interrupted"
    EXPRESSION_ERROR = "ExpressionError"
    RESULT_TOO_LARGE = "ResultTooLarge"
    RESULT_NOT_JSON = "ResultNotJson"
    BODY_NOT_ALLOWED = "BodyNotAllowed"
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed"
    WORKFLOW_TIMEOUT = "WorkflowTimeout"
    # skipped
    DEPENDENCY_NOT_COMPLETED = "DependencyNotCompleted"
    # cancelled
    FAIL_FAST = "FailFast"
    STOPPED = "Stopped"
    TERMINATED = "Terminated"
    REPLACED = "Replaced"


class Following(dict[TaskPhase, TaskPhase]):
    """What the table says of one step, by the phase before it; `IllegalTransition` is raised where it has none.

    Most tasks take the same two steps, and find their phases here without a call of ours.
    """

    def __init__(self, step: Step) -> None:
        super().__init__({before: found for (before, each), found in TRANSITIONS.items() if each is step})
        self.step = step

    def __missing__(self, phase: TaskPhase) -> TaskPhase:
        """There is no such transition."""
        raise IllegalTransition(f"a task that is {phase} can not {self.step}")


def after(phase: TaskPhase, step: Step, *, task: str) -> TaskPhase:
    """The phase that follows; raises `IllegalTransition` where the table has none."""
    try:
        return TRANSITIONS[phase, step]
    except KeyError:
        raise IllegalTransition(f'task "{task}" is {phase} and can not {step}') from None
