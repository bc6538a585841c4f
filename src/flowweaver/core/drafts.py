"""What happens to one run, as a draft that shadows it until it is committed.

A draft reads the run and writes only to itself; `record` puts what differs into the batch's `Changes`. Each public
method is one thing that can happen; the steps that it comes to are in `core.steps`.
"""

from __future__ import annotations

from itertools import chain
from typing import assert_never

from flowweaver.core.changes import AttemptClosed, AttemptStarted, ResultRecorded
from flowweaver.core.events import (
    AttemptEnded,
    AttemptId,
    AttemptTimedOut,
    Completed,
    Deferred,
    Failed,
    SettingsRequested,
    Shutdown,
)
from flowweaver.core.phases import Following, Reason, RunPhase, Step, TaskPhase
from flowweaver.core.plan import OnCrash
from flowweaver.core.records import made, replace
from flowweaver.core.state import QUARANTINE_AT, TaskState
from flowweaver.core.steps import RunSteps

_RUNNING = TaskPhase.RUNNING
_AFTER_START = Following(Step.START)


class RunDraft(RunSteps):
    """One run, as it will be after this batch, and what can happen to it."""

    __slots__ = ()

    # ------------------------------------------------------------------------------------------------- attempts end

    def attempt_ended(self, event: AttemptEnded) -> None:
        """An attempt has ended. Nothing follows from one that is not what its task is waiting for."""
        attempt, outcome, ended_at = event.attempt, event.outcome, event.ended_at
        run, task, number = attempt
        state = self._tasks.get(task) or self.run.tasks[task]
        if state.phase is not _RUNNING or state.attempts != number:
            return
        match outcome:
            case Completed():
                self.changes.closed.append(made(AttemptClosed, (attempt, "completed", ended_at, "", "", "")))
                self.changes.results.append(made(ResultRecorded, (run, task, outcome.result)))
                self._complete(task, state, ended_at)
            case Failed():
                self._close_attempt(attempt, "failed", ended_at, outcome)
                self._failed_attempt(task, outcome, ended_at, Reason.BACKOFF, event.random)
            case Deferred():
                self._close_attempt(attempt, "completed", ended_at)
                self.changes.results.append(ResultRecorded(run, task, outcome.result))
                self._defer(task, outcome.until)
            case _:
                assert_never(outcome)

    def attempt_timed_out(self, event: AttemptTimedOut) -> None:
        """The current attempt of a task has outlived its timeout: nobody waits for its body any more.

        A retry waits until the body has returned, so that no two attempts of a task run beside each other.
        """
        attempt = event.attempt
        plan = self.run.plan.tasks[attempt.task]
        failure = Failed(
            reason=Reason.TIMEOUT,
            message=f"attempt {attempt.number} ran longer than its timeout of {plan.timeout_seconds:g} s",
            error_type="Timeout",
            retryable=plan.retry.timeouts,
        )
        self._close_attempt(attempt, "timed_out", self.now, failure)
        self.changes.abandoned.append(attempt)
        self._failed_attempt(attempt.task, failure, self.now, Reason.ATTEMPT_STILL_RUNNING, event.random)

    def abandoned_attempt_returned(self, attempt: AttemptId) -> None:
        """A body that nobody waited for is over; what it says is dropped."""
        state = self.task(attempt.task)
        if state.reason == Reason.ATTEMPT_STILL_RUNNING and state.attempts == attempt.number:
            self._tasks[attempt.task] = replace(state, reason=Reason.BACKOFF)

    def interrupt_running(self) -> None:
        """The process is about to end: running attempts will be started again where they may, and that is no crash."""
        for task, state in self._in_phase(TaskPhase.RUNNING):
            attempt = AttemptId(self.run.key, task, state.attempts)
            self._close_attempt(attempt, "interrupted", self.now)
            self.changes.abandoned.append(attempt)
            if self.run.plan.tasks[task].on_crash is OnCrash.FAIL:
                self._fail_interrupted(task)
            else:
                self._interrupted(task)

    # ------------------------------------------------------------------------------------------------------- timers

    def task_due(self, task: int) -> None:
        """A timer of that task has fired; it may be an old one."""
        state = self.task(task)
        if state.phase is not TaskPhase.WAITING or state.not_before is None or state.not_before > self.now:
            return
        if state.reason == Reason.TIMER:
            self._complete(task, state, self.now)
        elif state.reason == Reason.BACKOFF:
            self._step(task, Step.WAKE, reason="", not_before=None)
            self._make_ready(task)

    def run_due(self) -> None:
        """The run's own timeout may be over."""
        head = self.head
        if not self._unfinished or head.deadline is None or head.deadline > self.now:
            return
        limit = self.run.plan.timeout_seconds
        self._note_failure(Reason.WORKFLOW_TIMEOUT, f"the workflow ran longer than its timeout of {limit:g} s")
        self._cancel_running(Reason.WORKFLOW_TIMEOUT)
        self._cancel_unstarted(Reason.WORKFLOW_TIMEOUT)

    # ----------------------------------------------------------------------------------------------------- requests

    def admitted(self, *, recovered: bool) -> None:
        """The run is in memory. What was running in a process that is gone is dealt with."""
        if not recovered:
            return
        for task, state in self._in_phase(TaskPhase.RUNNING):
            self._close_attempt(AttemptId(self.run.key, task, state.attempts), "crashed", self.now)
            self._crashed(task, state)
        for task, state in self._in_phase(TaskPhase.WAITING):
            # Its body went with the process, unless it was this one that let the run go.
            if state.reason == Reason.ATTEMPT_STILL_RUNNING and not self._body_is_there(task):
                self._tasks[task] = replace(state, reason=Reason.BACKOFF)

    def take_up(self) -> None:
        """The run is to be gone on with, whatever it was that ended it. Its timeout counts anew, from its next start.

        It stays the same run for everybody outside, and so its tasks keep their idempotency keys.

        What a crash has just failed is failed: only what was closed before is opened again.
        """
        closed, plan = self.head.closed, self.run.plan
        self.admitted(recovered=True)
        if closed:
            self.close_if_finished()
            self._again(self.head.rerun_token)
        head = self.head
        if head.phase.finished:
            return
        phase = RunPhase.PENDING if head.started_at is None else RunPhase.RUNNING
        self.head = replace(
            head,
            phase=RunPhase.SUSPENDED if plan.suspended else phase,
            deadline=None,
            suspended=plan.suspended,
            priority=plan.priority,
            parallelism=plan.parallelism,
        )

    def shut_down(self, mode: Shutdown) -> None:
        """End the run early; asking twice changes nothing."""
        if not self._unfinished or self.head.shutdown in (mode, Shutdown.TERMINATE):
            return
        self.head = replace(self.head, shutdown=mode)
        reason = Reason.STOPPED if mode is Shutdown.STOP else Reason.TERMINATED
        if mode is Shutdown.TERMINATE:
            self._cancel_running(reason)
        self._cancel_unstarted(reason)

    def change_settings(self, event: SettingsRequested) -> None:
        """Change what may be changed while a run is active."""
        head = self.head
        if head.phase.finished:
            return
        parallelism = head.parallelism if event.parallelism is None else event.parallelism
        suspended = head.suspended if event.suspended is None else event.suspended
        active = RunPhase.PENDING if head.started_at is None else RunPhase.RUNNING
        self.head = replace(
            head,
            suspended=suspended,
            phase=RunPhase.SUSPENDED if suspended else active,
            priority=head.priority if event.priority is None else event.priority,
            parallelism=None if event.clear_parallelism else parallelism,
        )

    def rerun(self, token: str) -> None:
        """Take a finished run up again where it did not complete; what completed is kept."""
        if token != self.head.rerun_token:
            self._again(token)

    def _again(self, token: str) -> None:
        head = self.head
        if not head.phase.finished:
            return
        if head.phase is RunPhase.COMPLETED:
            self.head = replace(head, rerun_token=token)
            return
        self.head = replace(
            head,
            phase=RunPhase.SUSPENDED if head.suspended else RunPhase.PENDING,
            reason="",
            message="",
            finished_at=None,
            deadline=None,
            shutdown=None,
            failed_fast=False,
            rerun_token=token,
        )
        again = [task for task in range(len(self.run.tasks)) if self.task(task).phase is not TaskPhase.COMPLETED]
        self._new_ready.clear()
        for task in again:
            self._reset(task)
        for task in again:
            unmet = sum(not self.task(wanted).phase.finished for wanted in self.run.graph.dependencies[task])
            self._unmet[task] = unmet
            if not unmet:
                self._make_ready(task)

    # ----------------------------------------------------------------------------------------------------- starting

    def next_task(self, *, quarantine_free: bool) -> int | None:
        """The next task to start; None where there is none now."""
        if self._ready is None:
            self._ready = chain(self.run.ready, self._new_ready)
        if self.run.held or not self.head.has_room(self.running):
            return None
        for task in self._ready:
            # Never beside a body of its own that was given up.
            if self._abandoned and self._body_is_there(task):
                continue
            if quarantine_free or not self.is_suspect(task):
                return task
        return None

    def _body_is_there(self, task: int) -> bool:
        """Whether a body of that task was given up and has not returned."""
        last = AttemptId(self.run.key, task, self.task(task).attempts)
        return last in self._abandoned and last not in self.changes.returned

    def start(self, task: int) -> bool:
        """Record the start of that task's next attempt; gives whether it must run while no other suspect does."""
        run, now, head = self.run, self.now, self.head
        state = self._tasks.get(task) or run.tasks[task]
        number = state.attempts + 1
        self.changes.started.append(made(AttemptStarted, (made(AttemptId, (run.key, task, number)), now)))
        phase = _AFTER_START[state.phase]
        started_at = now if state.started_at is None else state.started_at
        # By position, here and in `RunSteps._complete`: most steps are these two, and by name it takes twice as long.
        self._tasks[task] = TaskState(
            phase, number, state.failures, state.crashes, "", "", state.error_type, None, started_at
        )
        self.running += 1
        limit = run.plan.timeout_seconds
        # A change of settings may have made it Running again after a rerun, which has no deadline yet.
        if head.phase is not RunPhase.RUNNING or (head.deadline is None and limit is not None):
            self.head = replace(
                head,
                phase=RunPhase.RUNNING,
                started_at=now if head.started_at is None else head.started_at,
                deadline=now + limit if head.deadline is None and limit is not None else head.deadline,
            )
        return state.crashes >= QUARANTINE_AT

    # ------------------------------------------------------------------------------------------------------ closing

    def close_if_finished(self) -> None:
        """End the run when every task has finished."""
        head = self.head
        if self._unfinished or head.phase.finished:
            return
        phase, reason, message = RunPhase.COMPLETED, "", ""
        if head.reason:
            phase, reason, message = RunPhase.FAILED, head.reason, head.message
        elif head.shutdown is not None and any(True for _ in self._in_phase(TaskPhase.CANCELLED)):
            reason = Reason.STOPPED if head.shutdown is Shutdown.STOP else Reason.TERMINATED
            phase, message = RunPhase.CANCELLED, f"ended early by shutdown: {head.shutdown}"
        self.head = replace(head, phase=phase, reason=reason, message=message, finished_at=self.now)
