"""Runs that are opened, let go of and opened again under other plans; the workers do what the test says."""

from __future__ import annotations

from concurrent.futures import Future

from hypothesis import strategies as st

from flowweaver.core.events import AttemptId, Completed, Event, Failed, InterruptRequested
from flowweaver.core.invariants import violations
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.records import replace
from flowweaver.engine.intake import Wish
from flowweaver.ports import Opening, RunRequest
from tests.engine.conftest import Bench

NAMES = "abcdefg"


class Playground(Bench):
    """Tasks whose names are in `broken` always fail; after each turn every invariant holds."""

    broken: frozenset[str] = frozenset()
    wants_notices = False

    def turn(self, *events: Event) -> None:
        super().turn(*events)
        assert violations(self.conductor.world) == []

    def ask(self, plan: RunPlan, *, run_id: str = "r", fresh: bool = False) -> Future[Opening]:
        """Ask for a run, without a turn."""
        request = RunRequest(workflow="w", run_id=run_id, plan=plan, fresh=fresh, observe=lambda _run, _opening: self)
        wish = Wish(request, Future())
        self.conductor.intake.take([wish])
        return wish.answer

    def begin(self, plan: RunPlan) -> Opening:
        """Open the one run."""
        answer = self.ask(plan)
        self.turn()
        return answer.result(0)

    def body_ends(self, attempt: AttemptId) -> Event:
        """The body of an attempt returns, as it must."""
        task = {**self.executor.running, **self.executor.abandoned}[attempt].task
        failed = Failed(message="it broke", error_type="OSError")
        return self.executor.end(attempt, failed if task.name in self.broken else Completed(b"1"))

    def release(self, key: int) -> None:
        """Let go of a run, as the engine does it."""
        self.conductor.hold(key)
        self.turn(InterruptRequested(key))
        self.conductor.let_go(key)

    def finish(self) -> None:
        """Whatever runs ends, and time passes, until every run is over."""
        for _ in range(300):
            if not (self.conductor.world.runs or self.executor.abandoned):
                return
            self.turn(*map(self.body_ends, [*self.executor.running, *self.executor.abandoned]))
            self.pass_time(60.0)
        raise AssertionError("a run never ends")

    # As the observer of every run.

    def recorded(self, results: object) -> None:
        """Told by the engine."""

    def troubled(self, notices: object) -> None:
        """Told by the engine."""

    def ended(self, run: object) -> None:
        """Told by the engine."""

    def broke(self, why: str) -> None:
        """Told by the engine."""


@st.composite
def graphs(draw: st.DrawFn) -> tuple[TaskPlan, ...]:
    """Up to seven tasks, in an order that says nothing of their dependencies."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    tasks = []
    for place, name in enumerate(names):
        earlier = names[:place]
        wanted = draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3)) if earlier else []
        tasks.append(TaskPlan(name=name, kind="value", depends_on=tuple(wanted)))
    return tuple(draw(st.permutations(tasks)))


@st.composite
def policies(draw: st.DrawFn, tasks: tuple[TaskPlan, ...], broken: frozenset[str] = frozenset()) -> RunPlan:
    """A plan of these tasks. Only what is broken may be failed by a crash."""
    rules = st.sampled_from([TriggerRule.ALL_COMPLETED, TriggerRule.ALL_COMPLETED, TriggerRule.ALL_FINISHED])
    with_policies = [
        replace(
            task,
            trigger_rule=draw(rules),
            retry=RetryPolicy(limit=draw(st.integers(0, 2)), delay_seconds=10.0),
            allow_failure=draw(st.integers(0, 2)) == 0,
            on_crash=draw(st.sampled_from(OnCrash)) if task.name in broken else OnCrash.RERUN,
        )
        for task in tasks
    ]
    return RunPlan(
        tasks=tuple(with_policies),
        failure_policy=draw(st.sampled_from([FailurePolicy.CONTINUE, FailurePolicy.CONTINUE, FailurePolicy.FAIL_FAST])),
        parallelism=draw(st.sampled_from([None, None, 1])),
        priority=draw(st.integers(0, 1)),
    )
