"""What becomes of completed work when a run is gone on with under another plan.

A result holds for as long as its task, its version, and all that it was made from are the same. Policies are no matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowweaver.core.graph import Graph
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TriggerRule
from flowweaver.core.state import TaskState


@dataclass(frozen=True, slots=True)
class Revision:
    """How a new plan meets what was done under the old one."""

    kept: dict[int, int]  # position in the new plan -> in the old one: completed, and the result holds
    rerun: tuple[str, ...]  # tasks of the new plan that have to run, in its order
    removed: tuple[str, ...]  # tasks of the old plan that the new one has not
    changed: bool  # a task was added, removed, or is another one than before


def revise(old: RunPlan, states: Sequence[TaskState], new: RunPlan, graph: Graph) -> Revision:
    """Compare. `states` are those of `old`, by position; `graph` is that of `new`."""
    before = {task.name: position for position, task in enumerate(old.tasks)}
    names = set(graph.names)
    removed = tuple(task.name for task in old.tasks if task.name not in names)
    touched: set[int] = set()  # another task than before, or below one
    kept: dict[int, int] = {}
    anew = False
    for task in graph.order():
        plan = new.tasks[task]
        position = before.get(plan.name)
        same = position is not None and _same(old, position, new, task)
        anew = anew or not same
        dependencies = graph.dependencies[task]
        if not same or not touched.isdisjoint(dependencies):
            touched.add(task)
            continue
        if position is None or states[position].phase is not TaskPhase.COMPLETED:
            continue
        # What did not complete runs again; a task that came after it all the same stays as it is.
        if plan.trigger_rule is TriggerRule.ALL_FINISHED or all(wanted in kept for wanted in dependencies):
            kept[task] = position
    rerun = tuple(name for task, name in enumerate(graph.names) if task not in kept)
    return Revision(kept, rerun, removed, anew or bool(removed))


def _same(old: RunPlan, position: int, new: RunPlan, task: int) -> bool:
    was, now = old.tasks[position], new.tasks[task]
    return was.version == now.version and set(was.depends_on) == set(now.depends_on)
