"""Which attempt is running here: what a body may ask about itself.

    from flowweaver.runners import current_task

    def main(rows):
        for row in rows:
            if current_task().cancelled:
                return None
            send(row, key=current_task().idempotency_key)

It is a context variable, so that coroutines of the body see it too; a thread that the body starts does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from flowweaver.ports import Attempt, Cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTask:
    """The attempt that is running here."""

    name: str
    attempt: int  # 1, 2, 3 … over restarts and reruns
    idempotency_key: str  # the same over retries and restarts
    cancellation: Cancellation

    @classmethod
    def of(cls, attempt: Attempt) -> CurrentTask:
        """What the body of that attempt may know."""
        return cls(
            name=attempt.task.name,
            attempt=attempt.id.number,
            idempotency_key=attempt.idempotency_key,
            cancellation=attempt.cancellation,
        )

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more. In a process of its own the body gets SIGTERM instead, and
        this stays False.
        """
        return self.cancellation.requested

    def wait(self, timeout_seconds: float) -> bool:
        """Sleep so long, less when the attempt is cancelled; gives `cancelled`."""
        return self.cancellation.wait(timeout_seconds)


# An attempt stands for the task that is made of it when it is asked for: most bodies never do.
_current: ContextVar[CurrentTask | Attempt] = ContextVar("flowweaver_current_task")


def current_task() -> CurrentTask:
    """The attempt that is running here; raises `LookupError` outside of a task's body."""
    try:
        found = _current.get()
    except LookupError:
        raise LookupError("no task is running here: current_task() is for the body of a task") from None
    return CurrentTask.of(found) if isinstance(found, Attempt) else found


def set_current_task(attempt: Attempt) -> None:
    """Let `current_task` give that attempt in the rest of this context."""
    _current.set(attempt)


@contextmanager
def running(task: CurrentTask) -> Iterator[None]:
    """Let `current_task` give `task` within."""
    token = _current.set(task)
    try:
        yield
    finally:
        _current.reset(token)
