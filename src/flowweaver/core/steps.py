"""A run in the making: the steps that its tasks take, and what follows from each for the rest of the run.

Nothing here is an event: what can happen to a run, and which steps that means, is in `core.drafts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, assert_never

from flowweaver.core.backoff import delay_seconds
from flowweaver.core.changes import AttemptClosed, Changes, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId, Failed, Shutdown
from flowweaver.core.phases import Following, Reason, Step, TaskPhase, after
from flowweaver.core.plan import FailurePolicy, OnCrash, TriggerRule
from flowweaver.core.records import made, replace
from flowweaver.core.state import CRASH_LIMIT, QUARANTINE_AT, RunState, TaskState

_RUNNING, _COMPLETED = TaskPhase.RUNNING, TaskPhase.COMPLETED
_AFTER_COMPLETION = Following(Step.COMPLETE)


class RunSteps:
    """One run, as it will be after this batch: it shadows the run, and writes only to itself."""

    __slots__ = (
        "_abandoned",
        "_new_ready",
        "_ready",
        "_tasks",
        "_unfinished",
        "_unmet",
        "changes",
        "head",
        "now",
        "run",
        "running",
    )

    def __init__(self, run: RunState, changes: Changes, now: float, abandoned: AbstractSet[AttemptId]) -> None:
        """`abandoned` are the bodies that nobody waits for, as they were before this batch."""
        self.run = run
        self.changes = changes
        self.now = now
        self._abandoned = abandoned
        self.head = run.head
        self.running = run.running
        self._unfinished = run.unfinished
        self._tasks: dict[int, TaskState] = {}
        self._unmet: dict[int, int] = {}
        self._new_ready: list[int] = []
        self._ready: Iterator[int] | None = None  # what is left to start, once starting has begun

    # ---------------------------------------------------------------------------------------------------- reading

    def task(self, task: int) -> TaskState:
        """Where that task stands in this draft."""
        return self._tasks.get(task) or self.run.tasks[task]

    def is_current(self, attempt: AttemptId) -> bool:
        """Whether that attempt is the one whose end the task is waiting for."""
        state = self.task(attempt.task)
        return state.phase is TaskPhase.RUNNING and state.attempts == attempt.number

    def is_suspect(self, task: int) -> bool:
        """Whether a task was there at so many crashes that it must run while no other such task does."""
        return self.task(task).crashes >= QUARANTINE_AT

    def record(self) -> None:
        """Put what differs from the run into the changes."""
        run, changes = self.run, self.changes
        key = run.key
        changes.tasks += [made(TaskChanged, (key, task, state)) for task, state in self._tasks.items()]
        # One that is finished, and is what it was after all, is recorded too: so that it is let go of again.
        if self.head is not run.head and (self.head != run.head or self.head.phase.finished):
            changes.runs.append(RunChanged(key, self.head))
        if self._new_ready:
            changes.ready[key] = self._new_ready
        if self._unmet:
            changes.unmet[key] = self._unmet

    # -------------------------------------------------------------------------------------------------------- steps

    def _step(self, task: int, step: Step, **fields: Any) -> None:
        state = self.task(task)
        phase = after(state.phase, step, task=self.run.graph.names[task])
        if state.phase is TaskPhase.RUNNING:
            self.running -= 1
        self._tasks[task] = replace(state, phase=phase, **fields)

    def _close_attempt(self, attempt: AttemptId, status: str, ended_at: float, failure: Failed | None = None) -> None:
        if failure is None:
            self.changes.closed.append(AttemptClosed(attempt, status, ended_at))
        else:
            self.changes.closed.append(
                AttemptClosed(attempt, status, ended_at, failure.reason, failure.message, failure.error_type)
            )

    def _complete(self, task: int, state: TaskState, ended_at: float) -> None:
        """The task, which is in that state, has completed."""
        if state.phase is _RUNNING:
            self.running -= 1
        phase = _AFTER_COMPLETION[state.phase]
        self._tasks[task] = TaskState(
            phase, state.attempts, state.failures, state.crashes, "", "", "", None, state.started_at, ended_at
        )
        self._finish(task)

    def _failed_attempt(self, task: int, failure: Failed, ended_at: float, waits_for: Reason, random: float) -> None:
        """One more failure of a task: another attempt after a delay where the policy has one left, else its end."""
        plan = self.run.plan.tasks[task]
        failures = self.task(task).failures + 1
        if failure.retryable and failures <= plan.retry.limit and not self.head.closed:
            self.changes.troubled.append((self.run.key, task))
            self._step(
                task,
                Step.RETRY,
                failures=failures,
                reason=waits_for,
                message=failure.message,
                error_type=failure.error_type,
                not_before=ended_at + delay_seconds(plan.retry, failures, random),
            )
        else:
            self._fail(task, failure, ended_at, failures=failures)

    def _fail(self, task: int, failure: Failed, ended_at: float, **fields: Any) -> None:
        self.changes.troubled.append((self.run.key, task))
        self._step(
            task,
            Step.FAIL,
            reason=failure.reason,
            message=failure.message,
            error_type=failure.error_type,
            not_before=None,
            finished_at=ended_at,
            **fields,
        )
        plan = self.run.plan.tasks[task]
        self._finish(task)
        if plan.allow_failure:
            return
        self._note_failure(failure.reason, f'task "{plan.name}" failed: {failure.message}')
        if self.run.plan.failure_policy is FailurePolicy.FAIL_FAST and not self.head.closed:
            self.head = replace(self.head, failed_fast=True)
            self._cancel_unstarted(Reason.FAIL_FAST)

    def _note_failure(self, reason: str, message: str) -> None:
        """The first failure is what the run is said to have failed of."""
        if not self.head.reason:
            self.head = replace(self.head, reason=reason, message=message)

    def _defer(self, task: int, until: float) -> None:
        if self.head.closed:
            self._cancel(task, self._closing_reason())
        elif until <= self.now:
            self._complete(task, self.task(task), self.now)
        else:
            self._step(task, Step.DEFER, reason=Reason.TIMER, not_before=until)

    def _crashed(self, task: int, state: TaskState) -> None:
        crashes = state.crashes + 1
        if self.run.plan.tasks[task].on_crash is OnCrash.FAIL:
            self._fail_interrupted(task, crashes=crashes)
        elif crashes >= CRASH_LIMIT:
            message = f"the process died in {crashes} starts of this task"
            self._fail(task, Failed(reason=Reason.CRASH_LOOP, message=message), self.now, crashes=crashes)
        else:
            self._interrupted(task, crashes=crashes)

    def _fail_interrupted(self, task: int, **fields: Any) -> None:
        message = "the process ended while an attempt was running, and onCrash says Fail"
        self._fail(task, Failed(reason=Reason.INTERRUPTED, message=message), self.now, **fields)

    def _interrupted(self, task: int, **fields: Any) -> None:
        if self.head.closed:
            self._cancel(task, self._closing_reason())
            return
        self._step(task, Step.INTERRUPT, **fields)
        self._make_ready(task)

    def _closing_reason(self) -> Reason:
        match self.head.shutdown:
            case Shutdown.STOP:
                return Reason.STOPPED
            case Shutdown.TERMINATE:
                return Reason.TERMINATED
            case None:
                return Reason.FAIL_FAST
            case never:
                assert_never(never)

    def _cancel(self, task: int, reason: Reason) -> None:
        self._step(task, Step.CANCEL, reason=reason, not_before=None, finished_at=self.now)
        self._unfinished -= 1

    def _cancel_unstarted(self, reason: Reason) -> None:
        """Everything that waits ends here. Nothing can follow from it, since what depends on it waits too."""
        for phase in (TaskPhase.PENDING, TaskPhase.WAITING):
            for task, _ in self._in_phase(phase):
                self._cancel(task, reason)

    def _cancel_running(self, reason: Reason) -> None:
        for task, state in self._in_phase(TaskPhase.RUNNING):
            attempt = AttemptId(self.run.key, task, state.attempts)
            self._close_attempt(attempt, "cancelled", self.now)
            self.changes.abandoned.append(attempt)
            self._cancel(task, reason)

    def _reset(self, task: int) -> None:
        cleared: dict[str, Any] = {"failures": 0, "crashes": 0, "reason": "", "message": "", "error_type": ""}
        self._step(task, Step.RESET, started_at=None, finished_at=None, **cleared)
        self._unfinished += 1

    def _in_phase(self, phase: TaskPhase) -> Iterator[tuple[int, TaskState]]:
        """All tasks of the run in that phase when this is asked. Costs the size of the run: for rare events only."""
        states = self.run.tasks
        if self._tasks:
            states = [self._tasks.get(task, state) for task, state in enumerate(states)]
        return iter([(task, state) for task, state in enumerate(states) if state.phase is phase])

    def _make_ready(self, task: int) -> None:
        if not self.head.closed:
            self._new_ready.append(task)

    def _finish(self, task: int) -> None:
        """A task has finished: what depends on it becomes ready, or can not run any more, and so on below."""
        run, tasks, all_unmet = self.run, self._tasks, self._unmet
        dependants, run_unmet = run.graph.dependants, run.unmet
        finished = [task]
        for done in finished:
            self._unfinished -= 1
            completed = tasks[done].phase is _COMPLETED
            for dependant in dependants[done]:
                all_unmet[dependant] = unmet = all_unmet.get(dependant, run_unmet[dependant]) - 1
                if unmet and completed:
                    continue
                if (tasks.get(dependant) or run.tasks[dependant]).phase.finished:
                    continue
                if not completed and run.plan.tasks[dependant].trigger_rule is TriggerRule.ALL_COMPLETED:
                    message = f'"{run.graph.names[done]}" did not complete'
                    reason = Reason.DEPENDENCY_NOT_COMPLETED
                    self._step(dependant, Step.SKIP, reason=reason, message=message, finished_at=self.now)
                    finished.append(dependant)
                elif not unmet:
                    self._make_ready(dependant)
