"""What has happened, and what is asked for: everything that the core decides on.

Facts are in the past tense, wishes end in `Requested`. Times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from flowweaver.core.phases import Reason


class AttemptId(NamedTuple):
    """One try of one task. It is never used again, so that a result that comes late can be told apart."""

    run: int  # the run's key in the store
    task: int  # position in the plan
    number: int  # 1, 2, 3 … over restarts and reruns


class Completed(Struct, frozen=True, gc=False):
    """The attempt ended well. `result` is JSON text in UTF-8, as it will be stored and given to dependants."""

    result: bytes = b"null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The attempt ended badly. All text is storable: no lone surrogates, no secret."""

    reason: str = Reason.TASK_FAILED
    message: str = ""
    error_type: str = ""  # the class of the error, for `retry.when` and for whoever looks for it
    retryable: bool = True  # False: another attempt could only end the same way


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """The body has nothing to do until `until`; then the task is completed with `result`. It waits as a row."""

    until: float
    result: bytes = b"null"


Outcome = Completed | Failed | Deferred


class Shutdown(StrEnum):
    """How a run is ended from outside."""

    STOP = "Stop"  # cancel what has not started, let running attempts end
    TERMINATE = "Terminate"  # interrupt running attempts too


class AttemptEnded(Struct, frozen=True, gc=False):
    """A body has returned. Each started attempt ends exactly once, also one that was given up before."""

    attempt: AttemptId
    outcome: Outcome
    ended_at: float
    random: float = 0.0  # drawn by the shell in [0, 1): what a jittered delay is made of


@dataclass(frozen=True, slots=True)
class AttemptTimedOut:
    """An attempt has outlived its timeout; its body may still be running."""

    attempt: AttemptId
    random: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskDue:
    """A waiting task's time has come."""

    run: int
    task: int


@dataclass(frozen=True, slots=True)
class RunDue:
    """A run's own timeout is over."""

    run: int


@dataclass(frozen=True, slots=True)
class RunAdmitted:
    """A run is in memory now. `recovered`: it was left by a process that is gone, with whatever was running in it."""

    run: int
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class RunTakenUp:
    """A run that had ended or was left unfinished is in memory, to be gone on with: what did not complete is to run.

    What was running counts as crashed; the plan's settings hold anew.
    """

    run: int


@dataclass(frozen=True, slots=True)
class ShutdownRequested:
    """End the run early. Never taken back; Terminate after Stop goes further, Stop after Terminate says nothing new."""

    run: int
    mode: Shutdown


@dataclass(frozen=True, slots=True)
class SettingsRequested:
    """Change what may be changed while a run is active; None leaves a setting as it is."""

    run: int
    suspended: bool | None = None
    priority: int | None = None
    parallelism: int | None = None
    clear_parallelism: bool = False


@dataclass(frozen=True, slots=True)
class RerunRequested:
    """Run a finished run again where it did not complete. `token` is remembered: the same one twice is one rerun."""

    run: int
    token: str


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Start nothing new in any run: the process is about to end."""


@dataclass(frozen=True, slots=True)
class InterruptRequested:
    """The grace period is over: note every running attempt as interrupted. It counts as no crash."""

    run: int | None = None  # of that run alone; None: of all, and start nothing new in any


@dataclass(frozen=True, slots=True)
class WorkersRequested:
    """Let so many more attempts run at once, or fewer where it is negative. What runs goes on."""

    more: int


Fact = AttemptEnded
RunRequested = RunAdmitted | RunTakenUp | ShutdownRequested | SettingsRequested | RerunRequested
Request = RunRequested | DrainRequested | InterruptRequested | WorkersRequested
Timer = AttemptTimedOut | TaskDue | RunDue
Event = Fact | Request | Timer
