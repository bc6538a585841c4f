"""How runs come to an engine, leave it and come again."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from flowweaver.core.events import Event, InterruptRequested, RerunRequested
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import TaskState
from flowweaver.engine.intake import Submission, Wish
from flowweaver.errors import PlanChanged, StoreUnavailable, WorkflowRunningError
from flowweaver.ports import Opening, RunName, RunRequest
from tests.simulation.disk import Died
from tests.simulation.opening import expected, is_changed
from tests.simulation.plans import random_change, random_plan
from tests.simulation.watched import Watched, Watcher

NAMES = 4


def settings_of(plan: RunPlan) -> dict[str, object]:
    return {"suspended": plan.suspended, "priority": plan.priority, "parallelism": plan.parallelism}


class Runs(Watched):
    """What may be asked of an engine as to which runs it has."""

    submitted: list[RunName]

    def bodies_return(self) -> None:
        """A few bodies that run return."""
        raise NotImplementedError

    def end_run(self) -> None:
        """A run is asked to end early."""
        raise NotImplementedError

    def arrives(self, event: Event, *fact: object) -> None:
        """Something arrives, to be looked at in the next turn with all that has."""
        self.tell(f"{event}")
        self.waiting.append((event, fact))

    def perhaps_turn(self) -> None:
        if self.random.random() < 0.7:
            self.turn()

    def some_run(self) -> int | None:
        return self.random.choice(list(self.model.runs)) if self.model.runs else None

    def submit(self) -> None:
        """One run or two, new ones mostly."""
        asked = []
        for _ in range(self.random.choice([1, 1, 2])):
            again = self.submitted and self.random.random() < 0.1
            name = self.random.choice(self.submitted) if again else RunName("w", f"run-{len(self.submitted)}")
            if again or len(self.submitted) < NAMES:
                asked.append(Submission(name, random_plan(self.random), Future()))
                self.tell(f"submit {name.run_id}: {asked[-1].plan}")
                self.submitted += [] if again else [name]
        alive = self.take(asked)
        for each in asked:
            stored = self.disk.find_run(each.name)
            if stored is None:
                assert not alive, "submitted, and not there"
            elif stored.key not in self.model.runs:
                self.model.submitted(stored.key, each.plan, settings_of(each.plan))
            assert not alive or each.answer.result(0) == stored.key
        self.submitted = [name for name in self.submitted if self.disk.find_run(name)]
        if not alive:
            self.died()
            return
        if self.random.random() < 0.2:
            self.end_run()
        self.turn()

    def take(self, asked: list[Submission] | list[Wish]) -> bool:
        """Whether the process lives on."""
        self.turn()
        try:
            self.conductor.intake.take(asked)
        except Died:
            return False
        return True

    def open_run(self) -> None:
        """A run is opened by its name: a new one, or one that was there before, with the same tasks or others."""
        self.turn()
        model = self.model
        run_id = f"run-{self.random.randrange(NAMES)}"
        stored = self.disk.find_newest("w", run_id)
        old = (model.runs | model.away)[stored.key] if stored else None
        plan = random_change(self.random, old.plan) if old else random_plan(self.random)
        given = self.some_given(plan) if self.random.random() < 0.2 else {}
        watcher = Watcher(self)
        request = RunRequest(
            workflow="w",
            run_id=run_id,
            plan=plan,
            observe=lambda run, opening: watcher,
            fresh=self.random.random() < 0.1,
            allow_change=self.random.random() < 0.8,
            given=given,
        )
        self.tell(f"open {run_id} (fresh {request.fresh}, change {request.allow_change}, given {[*given]}): {plan}")
        wish = Wish(request, Future())
        alive = self.take([wish])
        if old and old.phase == "active" and old.key in model.runs:
            assert not alive or isinstance(wish.answer.exception(0), WorkflowRunningError)
        elif old and not request.fresh and not request.allow_change and is_changed(old, plan):
            assert not alive or isinstance(wish.answer.exception(0), PlanChanged)
        else:
            self.opened(request, old, watcher, wish.answer.result(0) if alive else None)
            return
        self.lives_on(alive=alive)

    def some_given(self, plan: RunPlan) -> dict[int, tuple[TaskState, bytes]]:
        """Some tasks, with all that they depend on."""
        names = {task.name: position for position, task in enumerate(plan.tasks)}
        given = {self.random.randrange(len(plan.tasks))}
        for _ in plan.tasks:
            given |= {names[wanted] for position in given for wanted in plan.tasks[position].depends_on}
        state = TaskState(phase=TaskPhase.COMPLETED, finished_at=self.clock.now())
        return dict.fromkeys(given, (state, b'"given"'))

    def opened(self, request: RunRequest, old: Any, watcher: Watcher, opening: Opening | None) -> None:
        """What there is now; no `opening`: the process has died, and with a new run in the store perhaps."""
        model, plan, settings = self.model, request.plan, settings_of(request.plan)
        outcome, new, kept = expected(old, plan, fresh=request.fresh)
        stored = self.disk.find_newest("w", request.run_id)
        key = stored.key if stored else 0
        if new and stored and (old is None or key != old.key):
            model.created(key, plan, settings, old, kept)
            model.given(key, {} if old else {position: result for position, (_, result) in request.given.items()})
            if outcome == "completed":
                model.runs[key].phase = "completed"
            if old is not None:
                self.open_attempts = {attempt for attempt in self.open_attempts if attempt.run != old.key}
        if opening is None:
            self.died()
            return
        assert (opening.key, opening.outcome) == (key, outcome), f"{opening}, should be {outcome}"
        assert new == (old is None or key != old.key)
        change = opening.change
        assert (change is not None) == (old is not None and not request.fresh and is_changed(old, plan))
        if change is not None:
            assert change.kept == kept
            assert change.rerun == tuple(task.name for task in plan.tasks if task.name not in kept)
            assert set(change.removed) == {task.plan.name for task in old.tasks} - {task.name for task in plan.tasks}
        self.watchers[key] = watcher
        if outcome == "completed":
            assert watcher.has_ended
            return
        if not new:
            model.comes_back(old, plan)
        facts = [] if new else [("taken_up", key, settings)]
        if self.observe(facts, lambda: self.conductor.turn(())):
            self.settle()
        else:
            self.died()

    def release(self) -> None:
        """The engine lets go of a run, at once or when a few of its bodies have returned."""
        self.turn()
        process, model, key = self.conductor, self.model, self.some_run()
        if key is None or model.runs[key].phase != "active":
            return
        self.tell(f"release {key}")
        self.conductor.hold(key)
        model.runs[key].held = True
        if self.random.random() < 0.5:
            self.bodies_return()
        if self.conductor is process:
            self.conductor.hold(key)
            self.turn((InterruptRequested(key), ("lost", False, model.runs[key])))
        if self.conductor is process:
            self.conductor.let_go(key)
            if model.runs[key].phase == "active":
                model.leaves(key)

    def rerun(self) -> None:
        self.turn()
        if (key := self.some_run()) is None:
            return
        new = str(len(self.story))
        last = self.disk.read_run(key).head.rerun_token
        tokens = self.random.choice([[new], [new], [new, new], [new, f"{new} again"], [last], [last, new]])
        for token in tokens:
            known = self.disk.read_run(key).head.rerun_token == token
            try:
                request = self.conductor.intake.rerun(RerunRequested(key, token))
            except Died:
                self.died()
                return
            if request is None:
                assert known
            else:
                self.arrives(request, *(() if known else ("rerun", key)))
        self.turn()

    def forget(self) -> None:
        """A run is to be deleted; one that is active stays."""
        self.turn()
        if (key := self.some_run()) is None:
            return
        self.tell(f"forget {key}")
        alive = True
        try:
            self.conductor.forget(key)
        except StoreUnavailable:
            self.tell("  that can not be now")
        except Died:
            alive = False
        if key not in {run for run, _, _ in self.disk.list_runs()}:
            assert self.model.runs.pop(key).phase != "active", "an active run is gone"
        self.lives_on(alive=alive)

    def lives_on(self, *, alive: bool) -> None:
        if not alive:
            self.died()
