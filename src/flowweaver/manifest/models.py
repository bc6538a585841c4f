"""What the user wrote, as frozen pydantic models: the one source of the CRD's schema and of what is accepted.

Only what works in this release is here. Defaults are None and resolved when the manifest is compiled: a default in the
CRD below `spec` would show every client a drift for ever.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from flowweaver.manifest.bodies import HttpBody, PythonBody, ShellBody, WaitBody
from flowweaver.manifest.fields import (
    AFTER_FAILURE,
    DEPENDENCIES_LIMIT,
    TASKS_LIMIT,
    TEMPLATED,
    AnyJson,
    Description,
    Duration,
    ParamName,
    Part,
    PositiveDuration,
    TaskName,
)


class Param(Part):
    """A value that expressions read as `params.NAME`."""

    name: ParamName
    """The name; unique among the params."""
    value: AnyJson = None
    """Any JSON, taken as it stands."""
    description: Description | None = None
    """What it is for."""


class Output(Part):
    """A value that the run hands out in `status.outputs`."""

    name: ParamName
    """The name; unique among the outputs."""
    value: Annotated[AnyJson, TEMPLATED] = None
    """Any JSON; expressions may stand in it."""
    description: Description | None = None
    """What it is."""


class Retry(Part):
    """How often and when a failed attempt is repeated. What a task leaves out is taken from `spec.retry`."""

    limit: Annotated[int, Field(ge=0, le=1000)] | None = None
    """How many retries, the first attempt not counted. Default: 0."""
    delay: Duration | None = None
    """How long to wait before the first retry. Default: 1s."""
    factor: Annotated[float, Field(ge=1, le=100)] | None = None
    """By how much the delay grows with each retry. Default: 2."""
    max_delay: Duration | None = None
    """The longest delay. Default: 5m."""
    jitter: Literal["None", "Full"] | None = None
    """Full: each delay is drawn between nothing and its length. Default: None."""
    when: Annotated[str, Field(min_length=1, max_length=4200), AFTER_FAILURE] | None = None
    """An expression over `error.type`, `error.message` and `attempt`; where it gives false, the task fails at once."""


class Task(Part):
    """One step of the workflow. It has exactly one body: value, python, http, shell or wait."""

    name: TaskName
    """The name; unique, also after `-` is written `_`."""
    depends_on: Annotated[list[TaskName], Field(max_length=DEPENDENCIES_LIMIT)] | None = None
    """Tasks that must end first. What an expression of this task reads is added by itself."""
    trigger_rule: Literal["AllCompleted", "AllFinished"] | None = None
    """When it may start: its dependencies have all completed (default), or have all ended, however."""
    retry: Retry | None = None
    """How often and when a failed attempt is repeated."""
    timeout: PositiveDuration | None = None
    """How long one attempt may take. Default: for ever."""
    allow_failure: bool | None = None
    """Its failure does not fail the workflow."""
    on_crash: Literal["Rerun", "Fail"] | None = None
    """What becomes of an attempt that was running when the process died. Default: Rerun, at most three times."""
    value: Annotated[AnyJson, TEMPLATED] = None
    """Any JSON with expressions in it: the result is the value."""
    python: PythonBody | None = None
    """Call a Python function."""
    http: HttpBody | None = None
    """Send an HTTP request."""
    shell: ShellBody | None = None
    """Run a command or a script."""
    wait: WaitBody | None = None
    """Wait for a while or until an instant."""


class WorkflowSpec(Part):
    """What is to run. Once a run has started only suspend, shutdown, rerun, priority, parallelism and
    ttlSecondsAfterFinished may change.
    """

    params: Annotated[list[Param], Field(max_length=256)] | None = None
    """Values that expressions read as `params.NAME`."""
    tasks: Annotated[list[Task], Field(min_length=1, max_length=TASKS_LIMIT)]
    """The steps."""
    outputs: Annotated[list[Output], Field(max_length=256)] | None = None
    """Values that the run hands out in `status.outputs`."""
    parallelism: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Most attempts of this workflow at once. Default: as many as there are workers."""
    timeout: PositiveDuration | None = None
    """How long the whole run may take. Default: for ever."""
    retry: Retry | None = None
    """The default for every task."""
    failure_policy: Literal["FailFast", "Continue"] | None = None
    """After a failure start nothing new (FailFast, the default), or run all that does not depend on it (Continue)."""
    suspend: bool | None = None
    """Nothing new starts while true."""
    shutdown: Literal["Stop", "Terminate"] | None = None
    """End the run: Stop lets running attempts end, Terminate interrupts them too. It can not be taken back."""
    rerun: Annotated[str, Field(max_length=253)] | None = None
    """A token: a new one runs a finished workflow again where it did not complete."""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    """Higher starts first. Default: 0."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    """Delete the Workflow so long after it has ended. Default: never."""


class Metadata(Part):
    """What FlowWeaver reads of an object's metadata; the rest is Kubernetes' business."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=52, pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")]
    """The workflow's name."""
    namespace: str = ""
    """Its namespace."""
    uid: str = ""
    """What tells it from an earlier or later one of the same name."""
    annotations: dict[str, Any] | None = None
    """Of these `flowweaver.io/traceparent` is read."""


class Workflow(Part):
    """A workflow: applying it starts it."""

    api_version: Literal["flowweaver.io/v1alpha1"]
    """The version of this schema."""
    kind: Literal["Workflow"]
    """Workflow."""
    metadata: Metadata
    """Name and namespace."""
    spec: WorkflowSpec
    """What is to run."""
