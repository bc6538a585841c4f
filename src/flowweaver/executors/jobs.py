"""One attempt on its way from `start` to its end, and what all executors say about one that did not end by itself."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from msgspec import Struct

from flowweaver.core.events import AttemptEnded, Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.ports import Attempt, Clock

SETTLE_SECONDS = 5.0
"""So long a closing executor waits for a thread that runs no body any more. It has nothing left to do but to end."""

log = logging.getLogger(__name__)

UNWANTED = Failed(reason=Reason.TERMINATED, message="stopped before its body was started", error_type="Cancelled")
NO_THREAD = Failed(message="the system gives no thread to run this in: look at its limits on processes and memory")


class Job(Struct, eq=False):
    """One attempt. Its flags change under its executor's lock."""

    attempt: Attempt
    ended: Callable[[AttemptEnded], None]
    thread: threading.Thread | None = None  # the one that has taken it
    unwanted: bool = False  # abandoned before a thread took it: its body is not run
    lost: bool = False  # abandoned while it was running: its thread ends with it


def tell(job: Job, outcome: Outcome, clock: Clock) -> None:
    """Tell the end, and the log where nobody takes it."""
    try:
        job.ended(AttemptEnded(job.attempt.id, outcome, clock.now(), random.random()))  # noqa: S311 - jitter
    except Exception:
        log.exception("the end of attempt %s could not be told", job.attempt.id)


def failure(exc: BaseException) -> Failed:
    """What came out of a runner. They translate what bodies raise; what arrives here has slipped through them."""
    try:
        message = str(exc)
    except Exception:  # noqa: BLE001 - an error whose text can not be made is still an error
        message = "(its message can not be read)"
    return Failed(error_type=type(exc).__name__, message=message[:4096].encode("utf-8", "replace").decode())
