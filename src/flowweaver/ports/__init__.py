"""What the engine needs from the rooms around it, as protocols, and the values that pass between them.

A store, an executor and a runner never meet: the engine speaks with each through what is declared here, and
`flowweaver.testing` has a contract suite for every protocol.
"""

from __future__ import annotations

from flowweaver.ports.attempts import Attempt, Dependency, Executor, Runner, run_origin
from flowweaver.ports.cancellation import Cancellation
from flowweaver.ports.clock import Clock
from flowweaver.ports.notices import Listener, Meter, Notice, RunNotice, RunObserver, TaskNotice
from flowweaver.ports.runs import OpenedRun, Opening, PlanChange, RunRequest, RunSnapshot
from flowweaver.ports.stores import (
    ROWS_AT_ONCE,
    ChildProcess,
    Damaged,
    Given,
    Kept,
    NewRun,
    RunName,
    Store,
    StoredRun,
    StorePosition,
)

__all__ = [
    "ROWS_AT_ONCE",
    "Attempt",
    "Cancellation",
    "ChildProcess",
    "Clock",
    "Damaged",
    "Dependency",
    "Executor",
    "Given",
    "Kept",
    "Listener",
    "Meter",
    "NewRun",
    "Notice",
    "OpenedRun",
    "Opening",
    "PlanChange",
    "RunName",
    "RunNotice",
    "RunObserver",
    "RunRequest",
    "RunSnapshot",
    "Runner",
    "Store",
    "StorePosition",
    "StoredRun",
    "TaskNotice",
    "run_origin",
]
