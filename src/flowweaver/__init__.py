"""FlowWeaver: durable workflows inside one process, as a Kubernetes operator, a command and a library.

    from flowweaver import SQLiteStateStore, ThreadedExecutor, Workflow, task

What is imported here is loaded when it is asked for, so that a name costs what it needs and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.3.2"

if TYPE_CHECKING:
    from flowweaver.errors import (
        ArgumentError,
        EventLoopRunning,
        FlowWeaverError,
        GraphError,
        ManifestError,
        PlanChanged,
        RunFailed,
        StoreError,
        StoreLocked,
        TaskExecutionError,
        UserError,
        WorkflowExecutionError,
        WorkflowRunningError,
    )
    from flowweaver.library.events import StatusEvent
    from flowweaver.library.executors import AsyncExecutor, BaseExecutor, SequentialExecutor, ThreadedExecutor
    from flowweaver.library.manifests import from_manifest, to_manifest
    from flowweaver.library.mermaid import export_mermaid, save_mermaid, view_mermaid
    from flowweaver.library.policies import FailurePolicy, Isolation, OnCrash, RetryPolicy, TriggerRule
    from flowweaver.library.runner import WorkflowRunner
    from flowweaver.library.state_stores import (
        BaseStateStore,
        InMemoryStateBackend,
        JSONStateStore,
        SQLiteStateStore,
        StateBackend,
    )
    from flowweaver.library.statuses import TaskStatus, WorkflowStatus
    from flowweaver.library.tasks import Task, task
    from flowweaver.library.workflow import Statistics, Workflow
    from flowweaver.runners.current import CurrentTask, current_task

__all__ = [
    "ArgumentError",
    "AsyncExecutor",
    "BaseExecutor",
    "BaseStateStore",
    "CurrentTask",
    "EventLoopRunning",
    "FailurePolicy",
    "FlowWeaverError",
    "GraphError",
    "InMemoryStateBackend",
    "Isolation",
    "JSONStateStore",
    "ManifestError",
    "OnCrash",
    "PlanChanged",
    "RetryPolicy",
    "RunFailed",
    "SQLiteStateStore",
    "SequentialExecutor",
    "StateBackend",
    "Statistics",
    "StatusEvent",
    "StoreError",
    "StoreLocked",
    "Task",
    "TaskExecutionError",
    "TaskStatus",
    "ThreadedExecutor",
    "TriggerRule",
    "UserError",
    "Workflow",
    "WorkflowExecutionError",
    "WorkflowRunner",
    "WorkflowRunningError",
    "WorkflowStatus",
    "current_task",
    "export_mermaid",
    "from_manifest",
    "save_mermaid",
    "task",
    "to_manifest",
    "view_mermaid",
]

_HOMES = {
    "errors": (
        "ArgumentError",
        "EventLoopRunning",
        "FlowWeaverError",
        "GraphError",
        "ManifestError",
        "PlanChanged",
        "RunFailed",
        "StoreError",
        "StoreLocked",
        "TaskExecutionError",
        "UserError",
        "WorkflowExecutionError",
        "WorkflowRunningError",
    ),
    "library.events": ("StatusEvent",),
    "library.executors": ("AsyncExecutor", "BaseExecutor", "SequentialExecutor", "ThreadedExecutor"),
    "library.manifests": ("from_manifest", "to_manifest"),
    "library.mermaid": ("export_mermaid", "save_mermaid", "view_mermaid"),
    "library.policies": ("FailurePolicy", "Isolation", "OnCrash", "RetryPolicy", "TriggerRule"),
    "library.runner": ("WorkflowRunner",),
    "library.state_stores": (
        "BaseStateStore",
        "InMemoryStateBackend",
        "JSONStateStore",
        "SQLiteStateStore",
        "StateBackend",
    ),
    "library.statuses": ("TaskStatus", "WorkflowStatus"),
    "library.tasks": ("Task", "task"),
    "library.workflow": ("Statistics", "Workflow"),
    "runners.current": ("CurrentTask", "current_task"),
}
_HOME_OF = {name: f"flowweaver.{module}" for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, loaded when it is asked for the first time."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowweaver' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
