"""The frozen picture that one reconciliation decides on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from flowweaver.core.plan import RunPlan
from flowweaver.core.state import RunHead
from flowweaver.manifest import Accepted, Rejected
from flowweaver.operator.objects import WorkflowObject
from flowweaver.operator.remains import Remains
from flowweaver.ports import StorePosition

CLAIM_GRACE_SECONDS = 10.0
"""So long another store may show by a new status that it lives, before its Workflows count as lost."""


class Owner(Enum):
    """Whose Workflow it is, as far as one can tell."""

    OURS = auto()  # our store accepted it, or nobody has
    ALIVE = auto()  # another store, which has been seen at work
    UNSURE = auto()  # another store; too early to say whether it lives
    DEAD = auto()  # another store, which has not moved since we look


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A run of our store, as last committed."""

    key: int
    head: RunHead
    held_back: bool = False  # suspended at the start: more was reported of it than the store knew
    damaged: str = ""  # why the rest of it can not be read from the store; empty: it can


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One Workflow, and all that is known of it."""

    now: float  # seconds since the epoch
    instance: str  # ours
    adopt: bool
    store: StorePosition  # ours, at least as new as what the Workflow reports of it
    workflow: WorkflowObject | None  # None: there is no object of that name
    run: KnownRun | None = None  # the run of this object
    strays: tuple[KnownRun, ...] = ()  # runs of earlier objects of that name
    owner: Owner = Owner.OURS
    owner_grace_left: float = 0.0  # seconds, where the owner is unsure
    answered: str = ""  # a rerun token that this process has answered
    spent_shutdown: str = ""  # what `spec.shutdown` said when the run was taken up again
    pinned: RunPlan | None = None  # what the store has of a run that has not begun and whose Workflow was edited
    verdict: Accepted | Rejected | None = None  # None: nobody has looked
    remains: Remains | None = None  # of an accepted one that has begun: what its status tells of it

    @property
    def observed_rerun(self) -> str:
        """The newest rerun token that has been answered."""
        assert self.workflow is not None
        token, reported = self.workflow.wishes.rerun, self.workflow.reported.observed_rerun
        carried_out = self.run.head.rerun_token if self.run else ""
        if token and token in {carried_out, self.answered, reported}:
            return token
        return carried_out or self.answered or reported

    @property
    def rerun_wanted(self) -> str:
        """The rerun token that waits for an answer; empty: none does."""
        assert self.workflow is not None
        token = self.workflow.wishes.rerun
        return token if token and token != self.observed_rerun else ""
