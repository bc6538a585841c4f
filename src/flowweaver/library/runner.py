"""Runs one workflow as a program of its own: for scripts, cron and systemd.

WorkflowRunner(workflow, ThreadedExecutor(state_store=SQLiteStateStore("state.db"))).main()
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from flowweaver.core.phases import RunPhase
from flowweaver.errors import (
    ArgumentError,
    FlowWeaverError,
    StoreLocked,
    UserError,
    WorkflowExecutionError,
    WorkflowRunningError,
)
from flowweaver.library.compiling import compiled
from flowweaver.library.executing import checked_workflow
from flowweaver.library.executors import EngineExecutor, ThreadedExecutor
from flowweaver.library.policies import OnChange
from flowweaver.library.runner_log import Chronicle, plain
from flowweaver.library.runner_signals import SignalReader, let_interrupts_end_the_process, signals_read
from flowweaver.library.runner_systemd import Notifier
from flowweaver.library.statuses import TaskStatus, WorkflowStatus

if TYPE_CHECKING:
    from flowweaver.engine.looking import EngineHealth
    from flowweaver.library.sessions import Session
    from flowweaver.library.workflow import Workflow

COMPLETED, FAILED, REFUSED, HELD = 0, 1, 2, 75
"""Exit statuses; 75 is EX_TEMPFAIL of sysexits.h. A signal gives 128 and its number, as shells count."""

LAST_SECONDS = 2.0
"""So long after its grace period a process that was told to stop may take to close its files, before it is ended."""

DEAD_SECONDS = 30.0
"""An engine that has not shown itself for so long is not alive. It does so every second."""

logger = logging.getLogger("flowweaver.runner")


class WorkflowRunner:
    """Runs a workflow once, to its end or until a signal, and says by an exit status how that went.

    It goes on with the newest run of this workflow and `run_id` where that has not finished, because its process was
    killed or told to stop. Where it has completed, a new one begins: tonight's run is not skipped because yesterday's
    completed. Where it has failed, a new one begins too, because after so many retries another input or another program
    is more likely to help than one more try, and tonight's results must not be built on yesterday's; with
    `resume_failed=True` that run goes on instead, and only what did not complete runs again.

    SIGTERM and SIGINT: nothing more is started, what is running may end within `grace_seconds`, and the run can be gone
    on with. A second one waits for nothing any more. A body that does not end then is ended with its process.
    """

    def __init__(
        self,
        workflow: Workflow,
        executor: EngineExecutor | None = None,
        *,
        run_id: str = "default",
        resume_failed: bool = False,
        on_change: OnChange = "warn",
        grace_seconds: float = 30.0,
        port: int | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """Without an executor it runs in four threads, and nothing is kept. `on_change`: see `Workflow.execute`.

        With a `port` (0: any that is free) `/health`, `/healthz` and `/metrics` answer on `host` while it runs, to
        everybody who reaches it. Raises `ArgumentError`.
        """
        if executor is not None and not isinstance(executor, EngineExecutor):
            raise ArgumentError(f"WorkflowRunner takes one of FlowWeaver's executors, not {type(executor).__name__}")
        if isinstance(grace_seconds, bool) or not isinstance(grace_seconds, (int, float)) or not grace_seconds >= 0:
            raise ArgumentError(f"WorkflowRunner(grace_seconds={grace_seconds!r}): use a number of at least 0")
        if port is not None and (isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535):
            raise ArgumentError(f"WorkflowRunner(port={port!r}): use a number from 0 to 65535, or None")
        self.workflow = checked_workflow(workflow)
        self.executor = executor if executor is not None else ThreadedExecutor()
        self.run_id = run_id
        self.resume_failed = resume_failed
        self.on_change = on_change
        self.grace_seconds = grace_seconds
        self.host = host
        self.port = port
        """Where it answers; while it runs with port 0, the one that it got."""
        self._chronicle = Chronicle()
        self._signal = 0  # the first one
        self._stop_by = float("inf")  # monotonic: what is running then is not waited for
        self._over = threading.Event()
        self._life: Life | None = None  # of its engine, once there is one

    def main(self) -> NoReturn:
        """`run`, and end the process with its status. A log that nobody has set up goes to standard error, and Ctrl-C
        before the run or after it ends the process as SIGINT does, without a traceback.
        """
        if not logging.getLogger().handlers:
            from flowweaver.telemetry.logs import TextLines

            handler = logging.StreamHandler()
            handler.setFormatter(TextLines())
            logging.basicConfig(level=logging.INFO, handlers=[handler])
        let_interrupts_end_the_process()
        sys.exit(self.run())

    def run(self) -> int:
        """Run it, and give the exit status: 0 completed, 1 failed, 2 it can not run as it is, 75 another process has
        its state store (or this process runs it already), 128 and the number after a signal.

        One that is over by the time of the signal tells how it ended. Each step of a task is a line in the log
        `flowweaver.runner`. In the main thread it takes signals; in another one only `stop` ends it early.
        """
        self._over.clear()
        self._signal, self._stop_by, self._life = 0, float("inf"), None
        notifier = Notifier()
        try:
            with signals_read() as signals, self._attended(signals, notifier), self._chronicle.kept():
                return self._run(notifier)
        except (StoreLocked, WorkflowRunningError) as error:
            logger.error("%s", plain(str(error)))  # noqa: TRY400 - a sentence for whoever reads it, no traceback
            return HELD
        except UserError as error:
            logger.error("%s", plain(str(error)))  # noqa: TRY400 - as above
            return REFUSED
        except FlowWeaverError as error:
            logger.error("%s", plain(str(error)))  # noqa: TRY400 - as above
            return FAILED

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Do as that signal does, from any thread; returns at once."""
        self._signalled(number, at_once=bool(self._signal))

    # ---------------------------------------------------------------------------------------------------- the run

    def _run(self, notifier: Notifier) -> int:
        with ExitStack() as stack:
            session = stack.enter_context(self.executor.sessions.use())  # first, so that a second runner is refused
            self._life = Life(session)
            stack.enter_context(self._answering())
            fresh = self._begins_anew(session)
            notifier.ready(f"workflow '{plain(self.workflow.name)}' is running")
            stack.enter_context(self.workflow.watched(self._chronicle.take))
            if self._signal:
                return 128 + self._signal
            try:
                self.executor.execute(self.workflow, run_id=self.run_id, fresh=fresh, on_change=self.on_change)
            except WorkflowExecutionError as error:
                finished = self.workflow.status in {WorkflowStatus.FAILED, WorkflowStatus.CANCELLED}
                if self._signal and not finished:
                    logger.warning(
                        "workflow '%s' was stopped: the next start goes on with it", plain(self.workflow.name)
                    )
                    return 128 + self._signal
                if not finished:  # else the log has it already
                    logger.error("%s", plain(str(error)))  # noqa: TRY400 - a sentence for whoever reads it, no traceback
                return FAILED
            return COMPLETED

    def _begins_anew(self, session: Session) -> bool:
        """Whether a new run is to be begun, in place of going on with the newest one."""
        phase = self._newest_phase(session)
        name = plain(self.workflow.name)
        if phase in {RunPhase.FAILED, RunPhase.CANCELLED}:
            if self.resume_failed:
                logger.info("workflow '%s': its last run was %s, and goes on", name, phase.value)
                return False
            logger.info("workflow '%s': its last run was %s, and a new one begins", name, phase.value)
        elif phase is not None and not phase.finished:
            logger.info("workflow '%s': its last run has not finished, and goes on", name)
        return phase is None or phase.finished

    def _newest_phase(self, session: Session) -> RunPhase | None:
        if self.executor.durable:
            plan = compiled(self.workflow).plan
            stored = session.store.find_newest(self.workflow.name, self.run_id, plan)
            return None if stored is None else stored.head.phase
        if self.executor.storage is not None:
            self.executor.restore(self.workflow)
        return self._phase_by_tasks()

    def _phase_by_tasks(self) -> RunPhase | None:
        """Where no runs are kept, what the tasks say; those of a run that is over are forgotten for the next one."""
        phase = {
            WorkflowStatus.COMPLETED: RunPhase.COMPLETED,
            WorkflowStatus.FAILED: RunPhase.FAILED,
            WorkflowStatus.CANCELLED: RunPhase.CANCELLED,
        }.get(self.workflow.status)
        if phase is None:
            started = any(task.status is not TaskStatus.PENDING for task in self.workflow.tasks.values())
            return RunPhase.RUNNING if started else None
        from flowweaver.library.state_stores import BaseStateStore

        storage = self.executor.storage
        if storage is not None and (phase is RunPhase.COMPLETED or not self.resume_failed):
            for name in self.workflow.tasks:  # a crash must not find the old ones among the new
                if isinstance(storage, BaseStateStore):
                    storage.clear_task_state(name)
                else:
                    storage.save_task_state(name, TaskStatus.PENDING)
        return phase

    # ------------------------------------------------------------------------------------------------- supervision

    @contextmanager
    def _attended(self, signals: SignalReader, notifier: Notifier) -> Iterator[None]:
        """Have a thread look after signals, and after systemd."""
        thread = threading.Thread(target=self._attend, args=(signals, notifier), name="flowweaver-signals", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            signals.wake()
            thread.join()

    def _attend(self, signals: SignalReader, notifier: Notifier) -> None:
        while not self._over.is_set():
            for number in signals.read(notifier.interval):
                first = not self._signal
                self._signalled(number, at_once=not first, ends_the_process=True)
                if first:
                    notifier.stopping(f"{signal.Signals(number).name}: what is running may end")
            if notifier.interval is not None and self._life is not None and self._life.goes_on:
                notifier.alive()

    def _signalled(self, number: int, *, at_once: bool, ends_the_process: bool = False) -> None:
        name = signal.Signals(number).name
        if not at_once:
            self._signal = number
            logger.warning("%s: nothing more is started, what is running may end in %g s", name, self.grace_seconds)
        else:
            logger.warning("%s again: nothing is waited for", name)
        self._stop_by = time.monotonic() + (0.0 if at_once else self.grace_seconds)
        threading.Thread(target=self._stop, args=(ends_the_process,), name="flowweaver-stop", daemon=True).start()

    def _stop(self, ends_the_process: bool) -> None:  # noqa: FBT001 - a thread's argument
        """Let go of the run, also of one that is just about to be opened."""
        while not self._over.is_set():
            left = self._stop_by - time.monotonic()
            self.executor.stop(max(0.0, left))
            if self._over.wait(0.02):
                return
            if ends_the_process and time.monotonic() > self._stop_by + LAST_SECONDS:
                logger.error("a body does not end: the process ends without it, and the next start goes on")
                os._exit(128 + self._signal)

    # ---------------------------------------------------------------------------------------------------- its port

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Have the port answer, where there is to be one."""
        if self.port is None:
            yield
            return
        from flowweaver.library.runner_http import served
        from flowweaver.library.runner_numbers import answers

        assert self._life is not None  # it has begun
        wanted, paths = self.port, answers(self.workflow, self._life, self._chronicle.attempts)
        with ExitStack() as stack:
            try:
                self.port = stack.enter_context(served(self.host, wanted, paths))
            except OSError as error:
                raise UserError(f"port {wanted} of {self.host} can not be had: {error.strerror or error}") from error
            logger.info("/health and /metrics answer on http://%s:%d", self.host, self.port)
            try:
                yield
            finally:
                self.port = wanted


class Life:
    """Whether an engine is alive, and how it is doing. From any thread."""

    def __init__(self, session: Session) -> None:
        self.since = time.time()
        self._engine = session.engine

    @property
    def health(self) -> EngineHealth:
        """What it says of itself."""
        return self._engine.health()

    @property
    def goes_on(self) -> bool:
        """Whether it has not stopped by itself, and moves."""
        health = self.health
        return not health.failure and time.monotonic() - health.heartbeat_at < DEAD_SECONDS
