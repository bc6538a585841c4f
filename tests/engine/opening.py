"""Opens runs on a bench, and writes down what whoever watches them is told."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from flowweaver.core.events import Completed, Failed
from flowweaver.core.invariants import violations
from flowweaver.core.plan import RunPlan
from flowweaver.engine.intake import Wish
from flowweaver.ports import Opening, RunRequest
from tests.engine.conftest import Bench, task

BROKEN = Failed(message="it broke", error_type="ValueError")


@dataclass
class Watcher:
    """Writes down all that it is told."""

    wants_notices: bool = False
    opening: Opening | None = None
    phases: list[str] = field(default_factory=list)  # at the opening
    results: dict[int, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    started_before: list[str] = field(default_factory=list)
    bench: Bench | None = None

    def observe(self, run, opening):
        self.opening = opening
        self.phases = [str(state.phase) for state in run.tasks]
        self.started_before = list(self.bench.started) if self.bench else []
        return self

    def recorded(self, results):
        self.results.update({result.task: result.result for result in results})
        self.told.append("recorded")

    def changed(self, notices):
        self.told.extend(f"{notice.task}: {notice.state.phase}" for notice in notices if hasattr(notice, "task"))

    def troubled(self, notices):
        self.told.extend(f"{it.task} in trouble: {it.state.phase} {it.state.error_type}".strip() for it in notices)

    def ended(self, run):
        self.told.append(f"ended {run.head.phase}")

    def broke(self, why):
        self.told.append(f"broke: {why}")


def asked(bench, *tasks, watcher=None, run_id="r", graph=None, fresh=False, given=None, allow_change=True, **fields):
    watcher = watcher or Watcher(bench=bench)
    plan = tasks[0] if tasks and isinstance(tasks[0], RunPlan) else RunPlan(tasks=tasks, **fields)
    request = RunRequest(
        workflow="w",
        run_id=run_id,
        plan=plan,
        observe=watcher.observe,
        graph=graph,
        fresh=fresh,
        given=given or {},
        allow_change=allow_change,
    )
    return Wish(request, Future())


def opened(bench, *tasks, **fields):
    """Open a run, and let what follows happen."""
    wish = asked(bench, *tasks, **fields)
    bench.conductor.intake.take([wish])
    opening = wish.answer.result(0)
    bench.turn()
    assert violations(bench.conductor.world) == []
    return opening


def ended(bench):
    """A run of which `a` completed and `b`, which depends on it, did not."""
    opened(bench, task("a"), task("b", "a"))
    bench.end("a", outcome=Completed(b'"kept"'))
    bench.end("b", outcome=BROKEN)
    assert bench.head().phase == "failed"
    bench.take_started()
