"""What each standing of a workflow says in each condition: one table, from which the docs draw theirs.

Conditions are the contract; `status.phase` is there for columns. The words follow kstatus, so that `helm --wait`, Flux
and their like see a workflow as current when it has completed, as failed when it can go no further, as in progress
else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from flowweaver.operator.names import STATE_LOST

LONGEST_MESSAGE = 2048
"""Characters of a condition's message. The API allows 32768; nobody reads so much, and every watcher pays for it."""


class Standing(StrEnum):
    """Everything that can be said of a workflow as a whole."""

    INVALID = "invalid"
    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STATE_LOST = "state lost"


class Says(NamedTuple):
    """A condition's status and reason. An empty reason stands for the run's own (`TaskFailed`, `Timeout`, …)."""

    status: str
    reason: str


def _row(accepted: Says, finished: Says, succeeded: Says, reconciling: Says, stalled: Says) -> Mapping[str, Says]:
    found = zip(TYPES, (accepted, finished, succeeded, reconciling, stalled), strict=True)
    return MappingProxyType(dict(found))


TYPES = ("Accepted", "Finished", "Succeeded", "Reconciling", "Stalled")

_TRUE, _FALSE, _UNKNOWN = "True", "False", "Unknown"
_accepted = Says(_TRUE, "Accepted")


def _active(phase: str) -> Mapping[str, Says]:
    return _row(_accepted, Says(_FALSE, phase), Says(_UNKNOWN, phase), Says(_TRUE, phase), Says(_FALSE, phase))


S = Standing
TABLE: Mapping[Standing, Mapping[str, Says]] = MappingProxyType(
    {
        S.INVALID: _row(
            Says(_FALSE, ""), Says(_TRUE, "Invalid"), Says(_FALSE, "Invalid"), Says(_FALSE, "Invalid"), Says(_TRUE, "")
        ),
        S.PENDING: _active("Pending"),
        S.RUNNING: _active("Running"),
        S.SUSPENDED: _row(
            _accepted,
            Says(_FALSE, "Suspended"),
            Says(_UNKNOWN, "Suspended"),
            Says(_FALSE, "Suspended"),
            Says(_FALSE, "Suspended"),
        ),
        S.COMPLETED: _row(
            _accepted,
            Says(_TRUE, "Completed"),
            Says(_TRUE, "Completed"),
            Says(_FALSE, "Completed"),
            Says(_FALSE, "Completed"),
        ),
        S.FAILED: _row(_accepted, Says(_TRUE, "Failed"), Says(_FALSE, ""), Says(_FALSE, "Failed"), Says(_TRUE, "")),
        S.CANCELLED: _row(
            _accepted, Says(_TRUE, "Cancelled"), Says(_FALSE, ""), Says(_FALSE, "Cancelled"), Says(_TRUE, "")
        ),
        S.STATE_LOST: _row(
            _accepted,
            Says(_FALSE, STATE_LOST),
            Says(_UNKNOWN, STATE_LOST),
            Says(_FALSE, STATE_LOST),
            Says(_TRUE, STATE_LOST),
        ),
    }
)
"""What each standing says in each condition."""

PHASES: Mapping[Standing, str] = MappingProxyType(
    {
        standing: {S.INVALID: "Failed", S.STATE_LOST: "Suspended"}.get(standing, standing.capitalize())
        for standing in Standing
    }
)
"""`status.phase` of each standing."""


def conditions(
    standing: Standing,
    *,
    reason: str,
    message: str,
    generation: int,
    previous: Sequence[Mapping[str, Any]],
    now: float,
) -> list[dict[str, Any]]:
    """The conditions of a standing; the time of a transition moves only where the status of a condition flips.

    `reason` and `message` are the run's own, or the first problem's; `previous` is what the object says now.
    """
    before = {str(found.get("type")): found for found in previous}
    found: list[dict[str, Any]] = []
    for kind, says in TABLE[standing].items():
        old = before.get(kind, {})
        same = old.get("status") == says.status and old.get("lastTransitionTime")
        found.append(
            {
                "type": kind,
                "status": says.status,
                "reason": says.reason or reason or standing.capitalize(),
                "message": bounded(message, LONGEST_MESSAGE) if kind in _speaks(standing) else "",
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if same else timestamp(now),
            }
        )
    return found


def _speaks(standing: Standing) -> tuple[str, ...]:
    """Which conditions carry the message."""
    return ("Accepted", "Finished", "Stalled") if standing is Standing.INVALID else ("Finished", "Succeeded", "Stalled")


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, as Kubernetes writes its own times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bounded(text: str, characters: int) -> str:
    """At most so many characters, the end replaced by an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def table_as_markdown() -> str:
    """The table of the docs: a row a standing, a column a condition."""
    lines = [
        "| workflow | `phase` | " + " | ".join(f"`{kind}`" for kind in TYPES) + " |",
        "|---|---|" + "---|" * len(TYPES),
    ]
    for standing, row in TABLE.items():
        cells = [f"{says.status}, {says.reason or '*its reason*'}" for says in row.values()]
        lines.append(f"| {standing} | {PHASES[standing]} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
