"""What must be right after each thing that the engine did: what is stored, what runs, and who was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowweaver.core.changes import Changes
from flowweaver.core.events import AttemptId, Failed
from flowweaver.core.invariants import violations
from flowweaver.engine.conductor import Conductor
from flowweaver.ports import Attempt, Store
from flowweaver.testing.simulation import ManualExecutor
from tests.simulation.disk import TroubledStore
from tests.simulation.opening import OpeningModel

Fact = tuple[Any, ...]  # the name of one of the model's methods, and what it wants to know
SOON = 1e-6  # seconds that two ways of adding may differ by


class Checks:
    """Compares what is there with the model. An assertion that fails says what is wrong."""

    model: OpeningModel
    disk: Store
    store: TroubledStore
    executor: ManualExecutor
    conductor: Conductor
    listens: bool
    open_attempts: set[AttemptId]  # recorded as started, not as ended
    handed: list[tuple[Attempt, float]]  # what the workers got now, and when
    told: dict[tuple[int, int], object]  # by task, what a listener was told last
    watchers: dict[int, Any]

    def check_retries(self) -> None:
        """A task that waited for its next attempt waits no longer: its delay is over and its body has returned."""
        for changes in self.store.committed:
            for key, position, state in changes.tasks:
                task = self.model.runs[key].tasks[position]
                if task.phase == "waiting" and state.phase in {"pending", "running"}:
                    assert self.model.may_wake(task), f"{task.place} is tried again too early"
                    self.model.put(task, "pending")

    def check_starts(self) -> None:
        """Each start that was recorded was allowed, the most urgent one, and fair; none is missing."""
        served: dict[int, int] = {}
        for attempt, at in [start for changes in self.store.committed for start in changes.started]:
            permitted = self.model.permitted()
            found = [task for task in permitted if task.place == attempt[:2]]
            assert found, f"{attempt} must not start, {self.about(attempt)}"
            run = found[0].run
            assert run.priority == max(other.run.priority for other in permitted), f"{attempt} is not the most urgent"
            peers = {other.run.key for other in permitted if other.run.priority == run.priority}
            assert all(served.get(peer, 0) >= served.get(run.key, 0) for peer in peers), f"{attempt} is out of turn"
            assert at == self.model.now
            assert attempt.number == found[0].attempts + 1, f"{attempt} has a wrong number"
            served[run.key] = served.get(run.key, 0) + 1
            self.model.started(found[0])
        idle = [task.place for task in self.model.permitted()]
        assert not idle, f"{idle} could start"

    def about(self, attempt: AttemptId) -> dict[str, Any]:
        run = self.model.runs[attempt.run]
        hidden = {"run", "tasks", "plan", "result"}
        both = vars(run) | vars(run.tasks[attempt.task])
        return {name: value for name, value in both.items() if name not in hidden}

    def check_ends(self, changes: Changes, facts: list[Fact], *, new: bool) -> None:
        """Each attempt is started once, ended once, and as what it was ended."""
        self.open_attempts.update(attempt for attempt, _ in changes.started)
        for closed in changes.closed:
            assert closed.attempt in self.open_attempts, f"{closed.attempt} is ended twice"
            self.open_attempts.remove(closed.attempt)
            right = self.right_status(closed.attempt, facts, new=new)
            assert closed.status in right, f"{closed.attempt} is recorded as {closed.status}, should be {right}"

    def right_status(self, attempt: AttemptId, facts: list[Fact], *, new: bool) -> Sequence[str]:
        for fact in facts:
            if fact[0] == "returned" and fact[1] == attempt:
                return ["failed" if isinstance(fact[2], Failed) else "completed"]
        run = self.model.runs[attempt.run]
        if new or ("lost", False) in facts or ("lost", False, run) in facts:
            return ["crashed" if new else "interrupted"]
        if attempt not in self.executor.running and attempt not in self.model.given_up:
            return ["crashed"]  # of a process before, in a run that was opened now
        return ["timed_out", "cancelled"] if run.tasks[attempt.task].phase == "cancelled" else ["timed_out"]

    def check_what_is_stored(self) -> None:
        """The store has what the model has, for every task of every run."""
        for key, run in (self.model.runs | self.model.away).items():
            stored = self.disk.read_run(key)
            for task, state in zip(run.tasks, stored.tasks, strict=True):
                self.check_task(task, state)
                if task.phase == "completed":
                    result = self.disk.read_results(key, [task.place[1]]).get(task.place[1])
                    assert result == task.result, f"{task.place} has {result!r}, should have {task.result!r}"
            head = stored.head
            phase = head.phase if head.phase in {"completed", "failed", "cancelled"} else "active"
            assert phase == run.phase, f"run {key} is {head.phase}, should be {run.phase}"
            assert (head.phase == "suspended") == (run.phase == "active" and run.suspended)
            found = (head.suspended, head.priority, head.parallelism)
            assert phase != "active" or found == (run.suspended, run.priority, run.parallelism), f"run {key}: {head}"

    def check_task(self, task: Any, state: Any) -> None:
        still_there = task.reason == "Backoff" and self.model.body_is_there(task)
        reason = "AttemptStillRunning" if still_there else task.reason
        crashes = state.crashes if task.phase == "cancelled" else task.crashes  # of those nobody counts the last one
        if state.phase == "waiting" and task.run.key in self.model.away:
            reason = state.reason  # while nobody looks after the run nobody notes that its body has returned
        found = (state.phase, state.reason, state.attempts, state.failures, state.crashes)
        right = (task.phase, reason, task.attempts, task.failures, crashes)
        assert found == right, f"{task.place} is {found}, should be {right}"
        assert (state.not_before is None) == (task.phase != "waiting"), f"{task.place}: {state}"
        if task.phase == "waiting":
            assert task.due - SOON <= state.not_before <= task.latest + SOON, f"{task.place} is due {state.not_before}"
            task.due = task.latest = state.not_before

    def check_the_process(self) -> None:
        """Exactly what runs is with the workers, and was given what is recorded; what was given up is told so."""
        model = self.model
        for attempt, at in self.handed:
            task = model.runs[attempt.id.run].tasks[attempt.id.task]
            task.too_long_at = at + (task.plan.timeout_seconds or float("inf"))
            given = {name: (it.phase.lower(), it.result) for name, it in attempt.dependencies.items()}
            right = {
                needed.plan.name: (needed.phase, needed.result if needed.phase == "completed" else None)
                for needed in model.needed(task)
            }
            assert given == right, f"{attempt.id} was given {given}, should be {right}"
        running = {AttemptId(*task.place, task.attempts) for task in model.tasks("running")}
        assert set(self.executor.running) == running
        elsewhere = {AttemptId(*task.place, task.attempts) for task in model.tasks("running", of=model.away.values())}
        assert self.open_attempts == running | (elsewhere if model.away else set())
        assert set(self.executor.abandoned) == model.given_up
        broken = violations(self.conductor.world)
        assert not broken, broken
        active = {key for key, run in model.runs.items() if run.phase == "active"}
        world = set(self.conductor.world.runs)
        assert world == active, f"in memory are {world}, active are {active}"
        assert {key for key, watcher in self.watchers.items() if not watcher.has_ended} <= active
        for place, state in self.told.items() if self.listens else ():
            if place[0] in model.runs:
                assert self.disk.read_run(place[0]).tasks[place[1]] == state, "nobody was told"
