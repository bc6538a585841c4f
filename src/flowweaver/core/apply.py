"""Changes to memory, after they are durable. The only place that writes to a `World` or a `RunState`.

Costs the number of changes, whatever the size of the runs.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

from flowweaver.core.changes import AttemptStarted, Changes, TaskChanged
from flowweaver.core.graph import Graph
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import QUARANTINE_AT, RunHead, RunState, TaskState, World

_RUNNING = TaskPhase.RUNNING


def open_run(
    *,
    key: int,
    name: tuple[str, str, int],
    plan: RunPlan,
    head: RunHead,
    tasks: list[TaskState] | None = None,
    graph: Graph | None = None,
) -> RunState:
    """A run in memory, from what the store has of it. Raises `GraphError` where its plan is no DAG.

    `graph` is the plan's, where there is one already.
    """
    graph = graph or plan.graph()
    states = tasks if tasks is not None else [TaskState()] * len(plan.tasks)
    if tasks is None:
        unmet, unfinished = [len(dependencies) for dependencies in graph.dependencies], len(states)
    else:
        waiting = [not state.phase.finished for state in states]
        unmet = [sum([waiting[wanted] for wanted in dependencies]) for dependencies in graph.dependencies]
        unfinished = sum(waiting)
    run = RunState(
        key=key,
        workflow=name[0],
        run_id=name[1],
        generation=name[2],
        plan=plan,
        graph=graph,
        head=head,
        tasks=states,
        unmet=unmet,
        ready=deque(),
        running=[state.phase for state in states].count(TaskPhase.RUNNING),
        unfinished=unfinished,
    )
    if not run.head.closed:
        run.ready.extend(
            [task for task, count in enumerate(unmet) if not count and states[task].phase is TaskPhase.PENDING]
        )
    return run


def admit(world: World, run: RunState) -> None:
    """Take a run into the world."""
    world.runs[run.key] = run
    world.running += run.running
    _rotate(world, run, served=False)


def dismiss(world: World, key: int) -> None:
    """Take a run out of the world: nothing of it runs."""
    run = world.runs.pop(key)
    _leave_rotation(world, run.head.priority, key)


def hold(world: World, key: int) -> RunState | None:
    """Have nothing more of a run started; gives it, None where it is not there."""
    run = world.runs.get(key)
    if run is not None:
        run.held = True
        _rotate(world, run, served=False)
    return run


def apply(world: World, changes: Changes) -> None:
    """Make memory say what the store says now."""
    touched = _replace(world, changes.tasks)
    for key, head in changes.runs:
        run = touched[key] = world.runs[key]
        if head.priority != run.head.priority:
            _leave_rotation(world, run.head.priority, key)
        run.head = head
    for key, unmet in changes.unmet.items():
        counts = world.runs[key].unmet
        for task, count in unmet.items():
            counts[task] = count
    for key, ready in changes.ready.items():
        world.runs[key].ready.extend(ready)
    _release_suspect(world)
    served = _started(world, changes.started)
    world.abandoned.update(changes.abandoned)
    world.abandoned.difference_update(changes.returned)
    world.draining = world.draining or changes.draining
    world.workers = max(0, world.workers + changes.workers)
    for key, run in touched.items():
        if run.head.closed:
            run.ready.clear()
        _rotate(world, run, served=key in served)


def _replace(world: World, tasks: Iterable[TaskChanged]) -> dict[int, RunState]:
    """Put the states of tasks into their places; gives the runs that these are of."""
    runs, touched = world.runs, {}
    for key, task, state in tasks:
        run = touched[key] = runs[key]
        before, now = run.tasks[task].phase, state.phase
        run.tasks[task] = state
        if now is _RUNNING:
            run.running += 1
            world.running += 1
        if before is _RUNNING:
            run.running -= 1
            world.running -= 1
        run.unfinished += before.finished - now.finished
    return touched


def _release_suspect(world: World) -> None:
    """Another suspect may run when the attempt of the one that did is over."""
    suspect = world.quarantined
    if suspect is not None and world.runs[suspect.run].tasks[suspect.task].phase is not _RUNNING:
        world.quarantined = None


def _started(world: World, started: Iterable[AttemptStarted]) -> set[int]:
    """Take the tasks of these from what is ready; gives the runs that these are of."""
    served = set()
    for attempt, _ in started:
        key, task, _ = attempt
        run = world.runs[key]
        served.add(key)
        if run.ready[0] == task:
            run.ready.popleft()
        else:
            run.ready.remove(task)
        if run.tasks[task].crashes >= QUARANTINE_AT:
            world.quarantined = attempt
    return served


def _rotate(world: World, run: RunState, *, served: bool) -> None:
    priority = run.head.priority
    if not run.startable:
        _leave_rotation(world, priority, run.key)
        return
    rotation = world.rotation.setdefault(priority, OrderedDict())
    rotation.setdefault(run.key)
    if served:
        rotation.move_to_end(run.key)


def _leave_rotation(world: World, priority: int, key: int) -> None:
    rotation = world.rotation.get(priority)
    if rotation is not None:
        rotation.pop(key, None)
        if not rotation:
            del world.rotation[priority]
