"""Every exception of FlowWeaver, in one tree.

    FlowWeaverError
    ├── UserError                 what was asked can not be done; the message says what to change
    │   ├── GraphError            (also ValueError) the tasks do not form a DAG
    │   ├── ArgumentError         (also ValueError) an argument makes no sense
    │   ├── EventLoopRunning      (also RuntimeError) a blocking call where an event loop runs
    │   ├── ManifestError         a manifest is not valid; carries every problem that was found
    │   ├── ExpressionError       an expression is wrong, or can not be evaluated on this data
    │   ├── WorkflowRunningError  this run is active already
    │   └── PlanChanged           the run was begun with other tasks; carries what differs
    ├── RunFailed                 (also RuntimeError) what was executed has not completed
    │   ├── WorkflowExecutionError    a workflow; carries every failure
    │   └── TaskExecutionError        one task's last attempt
    ├── StoreError                the state file can not be used
    │   ├── StoreLocked           another process holds it
    │   ├── StoreUnavailable      it can not be written now (full, I/O error); trying again may help
    │   │   └── CommitUnknown     COMMIT itself raised: read the store to learn whether it happened
    │   ├── StoreCorrupt          what it holds can not be true
    │   │   └── RunCorrupt        the same of one run alone
    │   └── StoreTooNew           a newer FlowWeaver wrote it
    └── InternalError             a bug of ours: please report it
        └── IllegalTransition     a task was asked for a step that its phase does not have

An error is named by what follows from it, not by where it was raised. Foreign exceptions are translated where they
enter, with `raise … from`.
"""

from __future__ import annotations


class FlowWeaverError(Exception):
    """The root: catch this to catch everything that FlowWeaver raises on purpose."""


class UserError(FlowWeaverError):
    """What was asked can not be done; the message says what to change."""


class GraphError(UserError, ValueError):
    """The tasks do not form a DAG."""


class ArgumentError(UserError, ValueError):
    """An argument makes no sense."""


class EventLoopRunning(UserError, RuntimeError):
    """A blocking call where an event loop runs: it would stop the loop. The text names what to await."""


class ManifestError(UserError):
    """A manifest is not valid. `problems` has every finding, in the order of the file."""

    def __init__(self, problems: tuple[object, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class ExpressionError(UserError):
    """An expression is wrong, or can not be evaluated on this data."""


class RunFailed(FlowWeaverError, RuntimeError):
    """What was executed has not completed; what did complete is recorded, and executing it again goes on from there."""


class TaskExecutionError(RunFailed):
    """A task has failed. Its cause is what the body raised, where that happened in this process."""

    def __init__(self, task: str, attempt: int, message: str, *, reason: str = "", error_type: str = "") -> None:
        what = f"{error_type}: {message}" if error_type else message
        super().__init__(f"Task '{task}' failed in attempt {attempt}: {what}")
        self.task = task
        self.attempt = attempt  # 1, 2, 3 … over restarts
        self.reason = reason  # one word: TaskFailed, Timeout, CrashLoop …
        self.error_type = error_type  # the class of what the body raised


class WorkflowExecutionError(RunFailed):
    """A workflow has not completed. Its cause is the first failure; `failures` has them all, in the tasks' order."""

    def __init__(self, workflow: str, message: str, failures: tuple[TaskExecutionError, ...] = ()) -> None:
        super().__init__(f"Workflow '{workflow}' {message}")
        self.workflow = workflow
        self.failures = failures


class WorkflowRunningError(UserError):
    """The run is active already, and can not be opened twice at a time."""


class PlanChanged(UserError):
    """The run was begun with other tasks. `change` is a `ports.PlanChange`."""

    def __init__(self, message: str, change: object) -> None:
        super().__init__(message)
        self.change = change


class StoreError(FlowWeaverError):
    """The state file can not be used."""


class StoreLocked(StoreError):
    """Another process, or another engine of this one, holds the state file."""


class StoreUnavailable(StoreError):
    """The state file can not be written now; nothing was changed, and trying again may help."""

    kind: str = "io"
    """What is wrong, in one word: "full", "readonly", or "io" for all else."""

    def __init__(self, message: str = "", *, kind: str = "io") -> None:
        super().__init__(message)
        self.kind = kind


class CommitUnknown(StoreUnavailable):
    """COMMIT itself failed, so that the transaction may or may not have happened."""


class StoreCorrupt(StoreError):
    """What the state file holds can not be true."""


class RunCorrupt(StoreCorrupt):
    """What the state file holds of one run can not be true; nothing is wrong with the file as such."""


class StoreTooNew(StoreError):
    """A newer FlowWeaver wrote the state file."""


class InternalError(FlowWeaverError):
    """A bug of FlowWeaver: please report it with this message."""


class IllegalTransition(InternalError):
    """A task was asked for a step that its phase does not have; nothing was changed."""
