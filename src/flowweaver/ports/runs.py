"""How a run is asked for, what became of that, and a picture of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowweaver.core.graph import Graph
from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead, RunState, TaskState
from flowweaver.ports.notices import RunObserver
from flowweaver.ports.stores import Given, RunName, StorePosition


@dataclass(frozen=True, slots=True)
class PlanChange:
    """How a plan differs from the one that the newest generation of its run has, by task names in the plans' order."""

    kept: tuple[str, ...]  # completed, and its result holds
    rerun: tuple[str, ...]  # new, or it or something that it depends on was changed, or it had not completed
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of a `RunRequest`."""

    key: int
    name: RunName
    outcome: Literal["created", "resumed", "completed"]
    change: PlanChange | None = None  # None: a new run, or the plan has the same tasks as before


OpenedRun = Opening


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Asks for a run to be begun, or to be gone on with: see `Engine.open_run`."""

    workflow: str
    run_id: str
    plan: RunPlan
    #: called once the run is open, before any attempt of it starts, and also where nothing will run; positions are
    #: those of `plan`. What it raises is raised to whoever opened the run, which stays as it is then.
    observe: Callable[[RunState, Opening], RunObserver]
    graph: Graph | None = None  # the plan's, where there is one already
    fresh: bool = False  # begin a new generation, whatever is there
    given: Given = field(default_factory=dict)  # only where there is no generation yet
    allow_change: bool = True  # False: where the plan has other tasks than before, `PlanChanged` is raised


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A consistent picture of one run: what a status is written from. Internal tasks are among `tasks`."""

    key: int
    name: RunName
    plan: RunPlan
    head: RunHead
    tasks: tuple[TaskState, ...]  # by position in the plan
    position: StorePosition
    outputs: Mapping[str, Any] | None = None  # of a run that has evaluated them
