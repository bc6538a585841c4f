"""Which run it is: what an opening finds in the store, and what has to be recorded for it.

nothing there, or `fresh`     a new generation
completed, same tasks         that run; nothing is to be done
not completed, same tasks     that run is gone on with, under the policies of the new plan
other tasks                   a new generation that keeps whatever still holds, and replaces the one before
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from flowweaver.core.graph import Graph
from flowweaver.core.phases import RunPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.revision import Revision, revise
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import PlanChanged
from flowweaver.ports import Kept, NewRun, PlanChange, RunName, RunRequest, StoredRun

Outcome = Literal["created", "resumed", "completed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is to be done for one request: record `new`, or take up `stored`."""

    outcome: Outcome
    new: NewRun | None = None
    tasks: list[TaskState] | None = None  # of `new`, where not all are pending
    stored: StoredRun | None = None
    change: PlanChange | None = None


def way(request: RunRequest, graph: Graph, stored: StoredRun | None, now: float) -> Way:
    """Decide. `stored` is the newest generation, read with the request's plan. Raises `PlanChanged`."""
    plan = request.plan
    name = RunName(request.workflow, request.run_id, 1 if stored is None else stored.name.generation + 1)
    if stored is None:
        kept = Kept(given=request.given) if request.given else None
        new = NewRun(name=name, plan=plan, head=new_head(plan, now), kept=kept)
        states = {task: state for task, (state, _) in request.given.items()}
        return Way(outcome="created", new=new, tasks=with_states(states, plan) if states else None)
    if request.fresh:
        kept = Kept(source=stored.key)
        return Way(outcome="created", new=NewRun(name=name, plan=plan, head=new_head(plan, now), kept=kept))
    if stored.plan is plan:
        completed = stored.head.phase is RunPhase.COMPLETED
        return Way(outcome="completed" if completed else "resumed", stored=stored)
    return _revised(request, graph, stored, name, now)


def new_head(plan: RunPlan, now: float) -> RunHead:
    """The head of a run that is being created."""
    return RunHead(
        phase=RunPhase.SUSPENDED if plan.suspended else RunPhase.PENDING,
        created_at=now,
        suspended=plan.suspended,
        priority=plan.priority,
        parallelism=plan.parallelism,
    )


def _revised(request: RunRequest, graph: Graph, stored: StoredRun, name: RunName, now: float) -> Way:
    plan = request.plan
    revision = revise(stored.plan, stored.tasks, plan, graph)
    change = _change(revision, plan) if revision.changed else None
    if change is not None and not request.allow_change:
        raise PlanChanged(_sentence(request, change), change)
    head = new_head(plan, now)
    completed = stored.head.phase is RunPhase.COMPLETED and not revision.rerun
    if completed:
        head = replace(stored.head, created_at=now, priority=plan.priority, parallelism=plan.parallelism)
    new = NewRun(name=name, plan=plan, head=head, kept=Kept(source=stored.key, tasks=revision.kept))
    states = {task: stored.tasks[position] for task, position in revision.kept.items()}
    outcome: Outcome = "completed" if completed else "resumed"
    return Way(outcome=outcome, new=new, tasks=with_states(states, plan), change=change)


def with_states(states: Mapping[int, TaskState], plan: RunPlan) -> list[TaskState]:
    """The state of every task of the plan, pending where `states` has none."""
    pending = TaskState()
    return [states.get(task, pending) for task in range(len(plan.tasks))]


def _change(revision: Revision, plan: RunPlan) -> PlanChange:
    kept = tuple(task.name for position, task in enumerate(plan.tasks) if position in revision.kept)
    return PlanChange(kept, revision.rerun, revision.removed)


def _sentence(request: RunRequest, change: PlanChange) -> str:
    what = [f"{len(names)} {verb}" for names, verb in ((change.rerun, "to run"), (change.removed, "gone")) if names]
    return (
        f'the tasks of workflow "{request.workflow}", run "{request.run_id}", are not those that it was begun with '
        f"({', '.join(what)}): allow the change, or begin a fresh run"
    )
