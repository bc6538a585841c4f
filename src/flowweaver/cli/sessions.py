"""One run under the eyes of a user: starting it or going on with it, following it, letting it go when asked to."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

from flowweaver.cli.progress import Progress
from flowweaver.core.events import RerunRequested, Shutdown, ShutdownRequested
from flowweaver.core.phases import RunPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.records import replace
from flowweaver.engine import Engine
from flowweaver.errors import InternalError, UserError
from flowweaver.ports import Notice, RunName, RunNotice, RunSnapshot, TaskNotice

LOOK_SECONDS = 0.2
"""So often it looks whether the engine still lives, and while it drains, whether anything still runs."""


@dataclass(frozen=True, slots=True)
class _Signal:
    """SIGINT or SIGTERM has come."""

    number: int


_Arrival = Sequence[Notice] | _Signal


class Session:
    """Follows one run. What happens comes through one queue, in the order of the commits, and so do signals: nothing is
    done in a signal handler.
    """

    def __init__(self, engine: Engine, plan: RunPlan, progress: Progress, state: Path | None) -> None:
        """`engine` has not been started; `state` is what the user calls its store."""
        self._engine = engine
        self._plan = plan
        self._progress = progress
        self._state = state
        self.name = RunName(f"{plan.namespace}/{plan.name}" if plan.namespace else plan.name)
        self._arrivals: SimpleQueue[_Arrival] = SimpleQueue()
        self._signals = 0

    def run(self, shutdown: Shutdown | None = None) -> tuple[RunSnapshot, int]:
        """Run it to its end, or until a signal; gives how it stands, and the signal's number or 0.

        With `shutdown`, it is ended early in that way. How it ended is printed, unless there was nothing to do.

        Raises `UserError` where the store has this run with another plan, `InternalError` where the engine fails.
        """
        with _signals_to(self._arrivals):
            self._engine.add_listener(self._arrivals.put)
            before = self._engine.find(self.name)
            if before is not None:
                self._plan = _same_plan(before.plan, self._plan, self._state)
                self._progress.begin(before.tasks)
            self._engine.start()
            key = self._engine.submit(self.name, self._plan)
            token = self._begin(key, before)
            if before is not None and not token and before.head.phase.finished:
                return before, 0
            if shutdown is not None:
                self._engine.request(ShutdownRequested(key, shutdown))
            number = self._follow(key, token)
            if number:
                self._engine.stop()  # what is shown then is how it stands when nothing runs any more
        snapshot = self._picture(key)
        if snapshot.head.phase.finished:
            self._progress.end(snapshot.head)
        return snapshot, number

    def _begin(self, key: int, before: RunSnapshot | None) -> str:
        """Say what is about to happen; gives the token of the rerun that is asked for or under way, if one is."""
        if before is None:
            return ""
        shown = [state for task, state in zip(before.plan.tasks, before.tasks, strict=True) if not task.internal]
        completed = sum(state.phase == "completed" for state in shown)
        match before.head.phase:
            case RunPhase.COMPLETED:
                self._progress.say(f"{self.name.workflow} has already completed in {self._state}: nothing runs again")
                return ""
            case RunPhase.FAILED | RunPhase.CANCELLED:
                token = str(uuid.uuid4())
                self._progress.say(
                    f"{self.name.workflow} was {before.head.phase} in {self._state}: running again what did not "
                    f"complete ({completed} of {len(shown)} tasks are kept)"
                )
                self._engine.request(RerunRequested(key, token))
                return token
            case _:
                self._progress.say(
                    f"{self.name.workflow} goes on from {self._state}: {completed} of {len(shown)} tasks are kept"
                )
                return before.head.rerun_token

    def _follow(self, key: int, token: str) -> int:
        """Print until the run has ended, or until a signal's wish has been met; gives that signal's number or 0."""
        number = 0
        while True:
            self._progress.tell_what_runs()
            try:
                arrival = self._arrivals.get(timeout=LOOK_SECONDS)
            except Empty:
                if self._over(key, token) or (number and self._idle()):
                    return number
                continue
            if isinstance(arrival, _Signal):
                number = number or arrival.number
                if self._signalled():
                    return number
            elif self._show(key, token, arrival):
                return number

    def _show(self, key: int, token: str, notices: Sequence[Notice]) -> bool:
        """Print what is ours; whether the run has ended."""
        over = False
        for notice in notices:
            if notice.run != key:
                continue
            if isinstance(notice, TaskNotice):
                self._progress.task(notice)
            elif isinstance(notice, RunNotice) and notice.head.phase.finished and notice.head.rerun_token == token:
                over = True
        return over

    def _signalled(self) -> bool:
        """The first signal drains; whether this was the second one, which waits for nothing any more."""
        self._signals += 1
        if self._signals == 1:
            running = self._engine.health().running
            awaited = f"; {running} running, interrupt again not to wait for them" if running else ""
            self._progress.say(f"Stopping: nothing new is started{awaited}")
            self._engine.drain()
        return self._signals > 1

    def _idle(self) -> bool:
        return self._engine.health().drained

    def _over(self, key: int, token: str) -> bool:
        """Whether it has ended without a notice having told so. Raises `InternalError` where the engine has."""
        failure = self._engine.health().failure
        if failure:
            raise InternalError(f"the engine has stopped: {failure}")
        head = self._picture(key).head
        return head.phase.finished and head.rerun_token == token

    def _picture(self, key: int) -> RunSnapshot:
        snapshot = self._engine.snapshot(key)
        if snapshot is None:
            raise InternalError("the run has gone while it was being followed")
        return snapshot


def _same_plan(stored: RunPlan, wanted: RunPlan, state: Path | None) -> RunPlan:
    """The stored plan, if the manifest still says the same; raises `UserError` that names what differs."""
    comparable = replace(wanted, uid=stored.uid, priority=stored.priority, parallelism=stored.parallelism)
    if comparable == stored:
        return stored
    changed = [name for name in ("params", "tasks") if getattr(comparable, name) != getattr(stored, name)]
    raise UserError(
        f"{state} has a run of {stored.name} that was started with other {' and '.join(changed) or 'settings'}: "
        "go on with the manifest and parameters that it was started with, or name another file by --state"
    )


@contextmanager
def _signals_to(arrivals: SimpleQueue[_Arrival]) -> Iterator[None]:
    """SIGINT and SIGTERM become arrivals; putting into a SimpleQueue is safe in a handler."""

    def arrived(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what the signal module calls
        arrivals.put(_Signal(number))

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, arrived) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
