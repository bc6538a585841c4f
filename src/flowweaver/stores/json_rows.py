"""What a JSON store knows of a run, besides its name and head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from flowweaver.core.state import TaskState


class AttemptRow(NamedTuple):
    """What is known of one attempt. Times are seconds since the epoch."""

    number: int
    status: str
    started_at: float | None = None
    ended_at: float | None = None
    reason: str = ""
    message: str = ""
    error_type: str = ""
    pid: int | None = None
    pid_started: int | None = None


@dataclass(slots=True)
class Rows:
    """All of a run but its name and head."""

    plan: str  # JSON, as `rows.plan_text` writes it
    names: tuple[str, ...]  # of the tasks, by position, as they can be stored
    tasks: list[TaskState]
    results: dict[int, bytes] = field(default_factory=dict)
    attempts: dict[int, dict[int, AttemptRow]] = field(default_factory=dict)  # by task and number
