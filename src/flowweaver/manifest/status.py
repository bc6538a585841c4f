"""What a Workflow's status may say: the models that the CRD's schema of `status` is made from.

Nobody parses a status with them; whoever writes one writes plain JSON, and the API server holds it against this schema.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from flowweaver.manifest.fields import TASKS_LIMIT, AnyJson, Part

Instant = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(max_length=1024)]

RunPhaseName = Literal["Pending", "Running", "Suspended", "Completed", "Failed", "Cancelled"]
TaskPhaseName = Literal["Pending", "Running", "Waiting", "Completed", "Failed", "Skipped", "Cancelled"]


class Condition(Part):
    """One aspect of where the Workflow stands."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Accepted, Finished, Succeeded, Reconciling or Stalled."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one word."""
    message: Annotated[str, Field(max_length=32768)]
    """Why, in a sentence."""
    last_transition_time: Instant
    """When the status last changed."""
    observed_generation: Count | None = None
    """The generation of the spec that it is about."""


class Counts(Part):
    """How many tasks are in each phase."""

    pending: Count | None = None
    """Not started."""
    running: Count | None = None
    """On a worker."""
    waiting: Count | None = None
    """For a retry or an instant."""
    completed: Count | None = None
    """Ended well."""
    failed: Count | None = None
    """Ended badly."""
    skipped: Count | None = None
    """Never ran, because of what they depend on."""
    cancelled: Count | None = None
    """Ended by the end of the run."""


class TaskStatus(Part):
    """Where one task stands."""

    name: Annotated[str, Field(max_length=63)]
    """The task's name."""
    phase: TaskPhaseName
    """Where it stands."""
    reason: Word | None = None
    """Why, in one word."""
    attempts: Count | None = None
    """How often it was started."""
    started_at: Instant | None = None
    """Its first attempt's start."""
    finished_at: Instant | None = None
    """Its end."""
    message: Word | None = None
    """What there is to say, the error of a failed task."""


class OutputStatus(Part):
    """A value that the run handed out."""

    name: Annotated[str, Field(max_length=63)]
    """The output's name."""
    value: AnyJson = None
    """The output's value."""


class Overhead(Part):
    """Time that the run spent not running the user's work."""

    queued_milliseconds: Count | None = None
    """From its acceptance to its first attempt."""
    engine_milliseconds: Count | None = None
    """Between attempts, while no task was under way."""


class StoreStatus(Part):
    """Which volume, which life of the operator and which commit this picture is of."""

    id: Annotated[str, Field(min_length=1, max_length=64)]
    """The state file's identity."""
    epoch: Count
    """Grows with each start of an operator; a smaller one is refused, so that a stale operator can not write."""
    sequence: Count
    """Grows with each commit."""


class WorkflowStatus(Part):
    """What the operator reports: a bounded picture of the run. The conditions are the contract."""

    observed_generation: Annotated[int, Field(ge=-1)] | None = None
    """The generation of the spec that this is about; -1 before the operator has seen the Workflow."""
    phase: RunPhaseName | None = None
    """Where the run stands, for people; programs read the conditions."""
    progress: Annotated[str, Field(max_length=32)] | None = None
    """How many tasks have ended, of all."""
    message: Word | None = None
    """What there is to say."""
    started_at: Instant | None = None
    """The first attempt's start. From then on the spec can not be changed."""
    finished_at: Instant | None = None
    """The run's end."""
    duration_milliseconds: Count | None = None
    """From start to end."""
    duration: Annotated[str, Field(max_length=32)] | None = None
    """The same for people, as kubectl shows an age: 20ms, 4.5s, 12m5s, 3h20m."""
    observed_rerun: Annotated[str, Field(max_length=253)] | None = None
    """The newest `spec.rerun` that was answered."""
    conditions: Annotated[list[Condition], Field(max_length=16)] | None = None
    """Accepted, Finished, Succeeded, Reconciling, Stalled."""
    counts: Counts | None = None
    """How many tasks are in each phase."""
    tasks: Annotated[list[TaskStatus], Field(max_length=TASKS_LIMIT)] | None = None
    """The tasks; failed and running ones first to be kept where not all fit."""
    tasks_truncated: Count | None = None
    """How many tasks did not fit."""
    outputs: Annotated[list[OutputStatus], Field(max_length=256)] | None = None
    """What `spec.outputs` came to."""
    overhead: Overhead | None = None
    """Time that the run spent not running the user's work."""
    store: StoreStatus | None = None
    """Which state this picture is of."""
