"""What the log says of one execution: how it begins, which attempts fail, how it ends.

Names of workflows and tasks, and types of errors: an error's message, a result or an argument may hold what is not for
everybody who reads a log, so that none of them is ever in a line.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from flowweaver.core.backoff import delay_seconds
from flowweaver.core.phases import Reason, TaskPhase
from flowweaver.core.plan import Jitter, RetryPolicy, RunPlan
from flowweaver.core.state import RunState, TaskState
from flowweaver.ports import Opening, PlanChange, TaskNotice

logger = logging.getLogger(__name__)

LONGEST_LIST = 20  # names in one line


class RunLog:
    """The lines of one execution."""

    def __init__(self, plan: RunPlan) -> None:
        """`plan` is what is executed."""
        self._plan = plan
        self._name = on_one_line(plan.name)
        self._retries: dict[str, RetryPolicy] = {}  # by task, made when the first one has failed

    def begins(self, opening: Opening) -> None:
        """The run is open."""
        if opening.outcome == "completed":
            logger.info("workflow '%s' has already completed: nothing runs, its results are restored", self._name)
        elif opening.change is not None:
            logger.warning("workflow '%s' has changed since its run began: %s", self._name, described(opening.change))
        else:
            logger.info("workflow '%s': its run is %s", self._name, opening.outcome)

    def failures(self, notices: Sequence[TaskNotice]) -> None:
        """A warning for each attempt that another one follows, an error for each task that has failed for good."""
        self._retries = self._retries or {task.name: task.retry for task in self._plan.tasks}
        for notice in notices:
            task, state = on_one_line(notice.task), notice.state
            why = on_one_line(state.error_type or state.reason)
            if state.phase is TaskPhase.FAILED:
                said = "task '%s' of workflow '%s' failed in attempt %d: %s"
                logger.error(said, task, self._name, state.attempts, why)
            else:
                said = "task '%s' of workflow '%s': attempt %d failed (%s), retry %d of %d in %s"
                retry = self._retries[notice.task]
                more = state.failures, retry.limit, _delay(retry, state)
                logger.warning(said, task, self._name, state.attempts, why, *more)

    def ends(self, run: RunState) -> None:
        """The run is over, or was let go of."""
        phase = run.head.phase
        said = f"has {phase}" if phase in {"completed", "failed"} else "was cancelled"
        logger.info("workflow '%s': its run %s", self._name, said if phase.finished else "was let go before its end")


def described(change: PlanChange) -> str:
    """A change of a plan in words, with the names."""
    parts = [
        f"{len(names)} {verb}{_listed(names)}"
        for verb, names in (("kept", change.kept), ("to run", change.rerun), ("removed", change.removed))
    ]
    return "; ".join(parts)


def on_one_line(text: str) -> str:
    """A name as it can stand in a line: what would begin another one, or steer a terminal, is escaped."""
    return text if text.isprintable() else repr(text)[1:-1]


def _listed(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(map(on_one_line, names[:LONGEST_LIST]))
    return f" ({shown}{', …' if len(names) > LONGEST_LIST else ''})"


def _delay(retry: RetryPolicy, state: TaskState) -> str:
    most = "at most " if retry.jitter is Jitter.FULL else ""
    body = ", when its body has returned" if state.reason == Reason.ATTEMPT_STILL_RUNNING else ""
    return f"{most}{delay_seconds(retry, state.failures, 1.0):g} s{body}"
