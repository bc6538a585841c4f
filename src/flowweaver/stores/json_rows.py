"""What a JSON store knows of a run, besides its name and head."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowweaver.core.state import TaskState
from flowweaver.stores.history import AttemptRow


@dataclass(slots=True)
class Rows:
    """All of a run but its name and head."""

    plan: str  # JSON, as `core.plan.plan_to_text` writes it
    names: tuple[str, ...]  # of the tasks, by position, as they can be stored
    tasks: list[TaskState]
    results: dict[int, bytes] = field(default_factory=dict)
    attempts: dict[int, dict[int, AttemptRow]] = field(default_factory=dict)  # by task and number
