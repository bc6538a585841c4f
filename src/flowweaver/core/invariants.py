"""What is true between any two turns, whatever happened before.

`violations` is for tests and for whoever looks for a bug: it costs the size of the world. What holds at a start alone
(a worker is free, a retry is left) is not here: workers may be taken away, and a run gone on with under another plan.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import TriggerRule
from flowweaver.core.state import RunState, World


def violations(world: World) -> list[str]:
    """Every invariant that does not hold, as a sentence; empty where all is well."""
    found = [sentence for run in world.runs.values() for sentence in _of_run(run)]
    running = sum(run.running for run in world.runs.values())
    if running != world.running:
        found.append(f"the world counts {world.running} running attempts, its runs have {running}")
    startable = {(run.head.priority, run.key) for run in world.runs.values() if run.startable}
    rotation = {(priority, key) for priority, keys in world.rotation.items() for key in keys}
    if startable != rotation:
        found.append(f"startable runs are {sorted(startable)}, the rotation has {sorted(rotation)}")
    return found


def _of_run(run: RunState) -> Iterator[str]:
    name = f"run {run.key}"
    phases = [state.phase for state in run.tasks]
    if run.running != phases.count(TaskPhase.RUNNING):
        yield f"{name} counts {run.running} running tasks, has {phases.count(TaskPhase.RUNNING)}"
    unfinished = sum(not phase.finished for phase in phases)
    if run.unfinished != unfinished:
        yield f"{name} counts {run.unfinished} unfinished tasks, has {unfinished}"
    if run.head.phase.finished != (unfinished == 0):
        yield f"{name} is {run.head.phase} with {unfinished} unfinished tasks"
    for task in range(len(run.tasks)):
        yield from _of_task(run, task, name)
    if not run.head.closed:
        ready = {t for t, phase in enumerate(phases) if phase is TaskPhase.PENDING and not run.unmet[t]}
        if ready != set(run.ready) or len(ready) != len(run.ready):
            yield f"{name} has ready {sorted(run.ready)}, should have {sorted(ready)}"


def _of_task(run: RunState, task: int, name: str) -> Iterator[str]:
    state, plan = run.tasks[task], run.plan.tasks[task]
    label = f'{name}, task "{plan.name}"'
    dependencies = [run.tasks[wanted].phase for wanted in run.graph.dependencies[task]]
    completed = state.phase is TaskPhase.COMPLETED
    started = state.phase in {TaskPhase.RUNNING, TaskPhase.WAITING}
    needs_all = plan.trigger_rule is TriggerRule.ALL_COMPLETED
    # Under AllFinished a completed task stays completed while a rerun takes up the failed one that it came after.
    if started and not all(phase.finished for phase in dependencies):
        yield f"{label} is {state.phase} before its dependencies have finished"
    if needs_all and (started or completed) and any(phase is not TaskPhase.COMPLETED for phase in dependencies):
        yield f"{label} is {state.phase} though a dependency did not complete"
    if not state.phase.finished and run.unmet[task] != sum(not phase.finished for phase in dependencies):
        yield f"{label} counts {run.unmet[task]} unmet dependencies"
    if state.failures + state.crashes > state.attempts:
        yield f"{label} has {state.failures} failures and {state.crashes} crashes in {state.attempts} attempts"
    if (state.phase is TaskPhase.WAITING) != (state.not_before is not None):
        yield f"{label} is {state.phase} with not_before {state.not_before}"
    if state.phase.finished != (state.finished_at is not None):
        yield f"{label} is {state.phase} with finished_at {state.finished_at}"
