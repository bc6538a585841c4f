"""What a `WorkflowRunner` says of its run: a line for each step of a task, and numbers."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.ports import Notice, RunNotice, TaskNotice

logger = logging.getLogger("flowweaver.runner")

LONGEST_MESSAGE = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Chronicle:
    """Writes what happens into the log `flowweaver.runner`, from a thread of its own: the engine waits for no pipe.

    A line names the task, the attempt and, of a failure, the error's text. Results and arguments are in none.
    """

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()  # that ended, by what the task came to with that
        self._notices: SimpleQueue[Sequence[Notice] | None] = SimpleQueue()

    def take(self, notices: Sequence[Notice]) -> None:
        """What one commit has changed. Called on the engine's thread."""
        self._notices.put(notices)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Write until the end of this, and then what is left."""
        thread = threading.Thread(target=self._write, name="flowweaver-log", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._notices.put(None)
            thread.join()

    def _write(self) -> None:
        while (notices := self._notices.get()) is not None:
            for notice in sorted(notices, key=_place):
                if isinstance(notice, TaskNotice):
                    self._task(notice)
                elif notice.head.phase is not notice.before.phase:
                    _run(notice)

    def _task(self, notice: TaskNotice) -> None:
        before, state = notice.before, notice.state
        name = f"task '{plain(notice.task)}'"
        if before.phase is TaskPhase.RUNNING and state.phase is not TaskPhase.RUNNING:
            self.attempts["interrupted" if state.phase is TaskPhase.PENDING else state.phase.value] += 1
        match state.phase:
            case TaskPhase.RUNNING:
                more = f" (attempt {state.attempts})" if state.attempts > 1 else ""
                logger.info("%s has started%s", name, more)
            case TaskPhase.WAITING if state.failures > before.failures:
                logger.warning(
                    "%s: attempt %d failed, another one follows%s", name, state.attempts, _why(state.message)
                )
            case TaskPhase.WAITING if state.reason == Reason.TIMER:
                logger.info("%s waits for its time", name)
            case TaskPhase.COMPLETED:
                logger.info("%s has completed%s", name, _seconds(state.started_at, state.finished_at))
            case TaskPhase.FAILED:
                took = _seconds(state.started_at, state.finished_at)
                logger.error("%s has failed in attempt %d%s%s", name, state.attempts, took, _why(state.message))
            case TaskPhase.SKIPPED | TaskPhase.CANCELLED:
                logger.info("%s was %s%s", name, state.phase.value, _why(state.message))
            case TaskPhase.PENDING if before.phase is TaskPhase.RUNNING:
                logger.warning("%s was interrupted, and will run again", name)


def _place(notice: Notice) -> int:
    """That the run has begun comes first, that it is over comes last."""
    if isinstance(notice, TaskNotice):
        return 1
    return 2 if notice.head.phase.finished else 0


def _run(notice: RunNotice) -> None:
    head = notice.head
    name = f"workflow '{plain(notice.name.workflow)}'"
    match head.phase:
        case RunPhase.RUNNING:
            logger.info("%s has started", name)
        case RunPhase.COMPLETED:
            logger.info("%s has completed%s", name, _seconds(head.started_at, head.finished_at))
        case RunPhase.FAILED | RunPhase.CANCELLED:
            what = "has failed" if head.phase is RunPhase.FAILED else "was cancelled"
            logger.error("%s %s%s%s", name, what, _seconds(head.started_at, head.finished_at), _why(head.message))


def plain(text: str) -> str:
    """The text on one line and without what steers a terminal, shortened where it is long."""
    shown = _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text[:LONGEST_MESSAGE])
    return f"{shown}…" if len(text) > LONGEST_MESSAGE else shown


def _why(message: str) -> str:
    return f": {plain(message)}" if message else ""


def _seconds(since: float | None, until: float | None) -> str:
    return "" if since is None or until is None else f" after {until - since:.3f} s"
