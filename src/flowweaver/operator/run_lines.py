"""The log lines of a run's way: one for each step of a workflow and of its tasks.

None has the text of an error or anything else that a body, a parameter or a result may say: a secret may stand in it.
Why something failed is in the resource's status, for those who may read it.
"""

from __future__ import annotations

import logging
from typing import Any

from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.core.state import RunHead
from flowweaver.ports import RunNotice, TaskNotice
from flowweaver.telemetry.logs import RUNS

logger = logging.getLogger(RUNS)
_ENDED = {"skipped": "been skipped", "cancelled": "been cancelled"}


def tell_of_resumed(workflow: str, head: RunHead) -> None:
    """A run that an earlier life of the operator left unfinished goes on."""
    logger.info("a workflow goes on after a restart", extra={"workflow": workflow, "phase": head.phase.value})


def tell_of_damage(run: int, why: str) -> None:
    """A run that can not be read from the store is left out."""
    logger.error("run %d is left out, because what the store has of it can not be read: %s", run, why)


def tell_of_run(notice: RunNotice) -> None:
    """What a new head says."""
    before, head = notice.before, notice.head
    extra: dict[str, Any] = {"workflow": notice.name.workflow, "phase": head.phase.value, "reason": head.reason}
    if head.shutdown is not None and head.shutdown is not before.shutdown:
        logger.info("a workflow is to end early", extra={**extra, "reason": head.shutdown.value})
    if before.phase is head.phase:
        return
    if head.phase.finished:
        extra["seconds"] = _seconds(head.started_at, head.finished_at)
        level = logging.WARNING if head.phase is RunPhase.FAILED else logging.INFO
        logger.log(level, "a workflow has %s", ended(head.phase), extra=extra)
    elif before.phase.finished:
        logger.info("a workflow runs again where it did not complete", extra=extra)
    elif head.phase is RunPhase.SUSPENDED:
        logger.info("a workflow is suspended", extra=extra)
    elif before.phase is RunPhase.SUSPENDED:
        logger.info("a workflow is suspended no more", extra=extra)
    else:
        logger.info("a workflow has started", extra=extra)


def tell_of_task(notice: TaskNotice) -> None:
    """What became of an attempt, and where its task stands now."""
    before, state = notice.before, notice.state
    extra: dict[str, Any] = {"workflow": notice.name.workflow, "task": notice.task}
    if state.phase.finished:
        extra |= {"attempt": state.attempts, "reason": state.reason, "error": state.error_type}
        extra["seconds"] = _seconds(state.started_at, state.finished_at)
        level = logging.WARNING if state.phase is TaskPhase.FAILED else logging.INFO
        logger.log(level, "a task has %s", ended(state.phase), extra=extra)
        return
    if before.phase is TaskPhase.RUNNING:
        _tell_of_attempt(notice, {**extra, "attempt": before.attempts})
    elif before.phase.finished:
        logger.info("a task is to run again", extra=extra)
    if state.phase is TaskPhase.RUNNING and state.attempts != before.attempts:
        logger.info("a task has started", extra={**extra, "attempt": state.attempts})


def _tell_of_attempt(notice: TaskNotice, extra: dict[str, Any]) -> None:
    before, state = notice.before, notice.state
    if state.phase is TaskPhase.WAITING:
        if state.reason == Reason.TIMER:
            logger.info("a task waits for its time", extra=extra)
        else:
            failed = {**extra, "reason": state.reason, "error": state.error_type}
            logger.warning("an attempt has failed, and the task is tried again", extra=failed)
    elif state.crashes > before.crashes:
        logger.warning("an attempt was lost with its process, and the task runs again", extra=extra)
    elif state.phase is TaskPhase.PENDING or state.attempts != before.attempts:
        logger.info("an attempt was interrupted, and the task runs again", extra=extra)


def ended(phase: RunPhase | TaskPhase) -> str:
    """How it ended, after "has"."""
    return _ENDED.get(phase.value, phase.value)


def _seconds(started_at: float | None, finished_at: float | None) -> float | None:
    return None if started_at is None or finished_at is None else round(finished_at - started_at, 3)
