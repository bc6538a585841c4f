"""What follows from what has happened.

`decide` reads the world and changes nothing: it works on drafts that shadow the runs it touches, and gives `Changes` to
be committed. Its cost grows with the number of events and of tasks that they concern, not with the size of the runs.

What happens to one run is in `core.drafts`; here is the order of things within a batch, and who gets a free worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import assert_never

from flowweaver.core.changes import Changes
from flowweaver.core.drafts import RunDraft
from flowweaver.core.events import (
    AttemptEnded,
    AttemptTimedOut,
    DrainRequested,
    Event,
    InterruptRequested,
    Request,
    RerunRequested,
    RunAdmitted,
    RunDue,
    RunRequested,
    RunTakenUp,
    SettingsRequested,
    ShutdownRequested,
    TaskDue,
    Timer,
    WorkersRequested,
)
from flowweaver.core.state import World


def decide(world: World, events: Sequence[Event], now: float) -> Changes:
    """All that follows from `events` at the instant `now`, and the attempts that can start after it.

    What has ended comes first, then what is asked, then what is due, so that no finished work is lost.
    """
    batch = _Batch(world, now)
    requests: list[Request] = []
    timers: list[Timer] = []
    for event in events:
        if isinstance(event, AttemptEnded):
            batch.attempt_ended(event)
        elif isinstance(event, Timer):
            timers.append(event)
        else:
            requests.append(event)
    for request in requests:
        batch.take(request)
    for timer in timers:
        batch.fire(timer)
    for draft in batch.drafts.values():
        draft.close_if_finished()
    batch.start_attempts()
    for draft in batch.drafts.values():
        draft.record()
    return batch.changes


class _Batch:
    """One batch in the making."""

    def __init__(self, world: World, now: float) -> None:
        self.world = world
        self.now = now
        self.changes = Changes()
        self.drafts: dict[int, RunDraft] = {}

    def draft(self, run: int) -> RunDraft | None:
        """The draft of that run; None where it is not in memory, because what is asked of it comes too late."""
        draft = self.drafts.get(run)
        if draft is None and (state := self.world.runs.get(run)) is not None:
            draft = self.drafts[run] = RunDraft(state, self.changes, self.now, self.world.abandoned)
        return draft

    def take(self, event: Request) -> None:
        match event:
            case DrainRequested():
                self.changes.draining = True
            case InterruptRequested():
                self._interrupt(event.run)
            case WorkersRequested():
                self.changes.workers += event.more
            case _:
                if (draft := self.draft(event.run)) is not None:
                    _request(draft, event)

    def fire(self, event: Timer) -> None:
        draft = self.draft(event.attempt.run if isinstance(event, AttemptTimedOut) else event.run)
        if draft is not None:
            _fire(draft, event)

    def attempt_ended(self, event: AttemptEnded) -> None:
        attempt, abandoned = event.attempt, self.world.abandoned
        draft = self.drafts.get(attempt.run) or self.draft(attempt.run)
        if abandoned and attempt in abandoned:
            self.changes.returned.append(attempt)
            if draft is not None:
                draft.abandoned_attempt_returned(attempt)
        elif draft is not None:
            draft.attempt_ended(event)

    def _interrupt(self, key: int | None) -> None:
        self.changes.draining |= key is None
        for run in self.world.runs.values() if key is None else filter(None, [self.world.runs.get(key)]):
            if run.running and (draft := self.draft(run.key)) is not None:
                draft.interrupt_running()

    def start_attempts(self) -> None:
        """Hand free workers to the runs: strictly by priority; within one in turn, who waited longest first."""
        if self.world.draining or self.changes.draining:
            return
        workers = self.world.workers + self.changes.workers
        free = workers - self.world.running
        for draft in self.drafts.values():
            free -= draft.running - draft.run.running
        # Bodies that were given up hold threads and memory: with more of them than workers, starting makes it worse.
        abandoned = len(self.world.abandoned) + len(self.changes.abandoned) - len(self.changes.returned)
        if free <= 0 or abandoned > workers:
            return
        quarantine_free = self._quarantine_free()
        for priority in self._priorities():
            turn: Iterable[RunDraft] = self._startable(priority)
            while turn:
                served = []
                for draft in turn:
                    task = draft.next_task(quarantine_free=quarantine_free)
                    if task is None:
                        continue
                    suspect = draft.start(task)
                    quarantine_free = quarantine_free and not suspect
                    free -= 1
                    if not free:
                        return
                    served.append(draft)
                turn = served

    def _quarantine_free(self) -> bool:
        suspect = self.world.quarantined
        if suspect is None:
            return True
        draft = self.drafts.get(suspect.run)
        return draft is not None and not draft.is_current(suspect)

    def _priorities(self) -> list[int]:
        touched = {draft.head.priority for draft in self.drafts.values()}
        return sorted(touched.union(self.world.rotation), reverse=True)

    def _startable(self, priority: int) -> Iterator[RunDraft]:
        """Runs of that priority that may have something to start: those in the rotation in its order, then others."""
        rotation: Mapping[int, None] = self.world.rotation.get(priority, {})
        for key in chain(rotation, [key for key in self.drafts if key not in rotation]):
            draft = self.draft(key)
            if draft is not None and draft.head.priority == priority:
                yield draft


def _fire(draft: RunDraft, event: Timer) -> None:
    match event:
        case AttemptTimedOut():
            if draft.is_current(event.attempt):
                draft.attempt_timed_out(event)
        case TaskDue():
            draft.task_due(event.task)
        case RunDue():
            draft.run_due()
        case _:
            assert_never(event)


def _request(draft: RunDraft, event: RunRequested) -> None:
    match event:
        case RunAdmitted():
            draft.admitted(recovered=event.recovered)
        case RunTakenUp():
            draft.take_up()
        case ShutdownRequested():
            draft.shut_down(event.mode)
        case SettingsRequested():
            draft.change_settings(event)
        case RerunRequested():
            draft.rerun(event.token)
        case _:
            assert_never(event)
