"""What the plan may ask for: one frozen value a deed, carried out in order by `reconciler`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from flowweaver.core.events import RerunRequested, SettingsRequested, ShutdownRequested
from flowweaver.core.plan import RunPlan
from flowweaver.manifest.problems import Problem
from flowweaver.ports import Given


@dataclass(frozen=True, slots=True)
class Validate:
    """Look at the spec and plan again: nothing else can be said before."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Put our finalizer and our store's name on the Workflow; what follows is not done where that fails."""


@dataclass(frozen=True, slots=True)
class Release:
    """Take our finalizer off."""


@dataclass(frozen=True, slots=True)
class Submit:
    """Record the run and start what is left of it. `token` is the rerun token that it answers by this."""

    plan: RunPlan
    token: str = ""
    given: Given = field(default_factory=dict)  # tasks that have completed in a state that is lost


@dataclass(frozen=True, slots=True)
class Withdraw:
    """End a run that has not begun, without a word: another one takes its place."""

    run: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Pass a wish on to the engine."""

    event: ShutdownRequested | SettingsRequested | RerunRequested


@dataclass(frozen=True, slots=True)
class AnswerRerun:
    """Remember that this token needs no further answer."""

    token: str


@dataclass(frozen=True, slots=True)
class ReportRun:
    """Have the status show the run."""


@dataclass(frozen=True, slots=True)
class ReportRefusal:
    """Have the status say why the Workflow can not run."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ReportLoss:
    """Have the status say that the state is gone."""

    message: str


@dataclass(frozen=True, slots=True)
class ReportHistory:
    """Have the status of a finished Workflow note the newest edit."""


class EventType(StrEnum):
    """How loud an Event is."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Post:
    """Tell whoever runs `kubectl describe`."""

    type: EventType
    reason: str
    note: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Its time to live is over."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Reconcile once more after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete a finished run from the store: its Workflow is gone."""

    run: int


Write = Claim | Release | ReportRun | ReportRefusal | ReportLoss | ReportHistory | Post | Delete
"""What ends at the API server."""

Action = Validate | Submit | Withdraw | Ask | AnswerRerun | LookAgain | Forget | Write
