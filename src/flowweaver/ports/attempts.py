"""What the engine needs of whoever runs bodies, and what a body may know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Protocol

from msgspec import Struct, field

from flowweaver.core.events import AttemptEnded, AttemptId, Outcome
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.ports.cancellation import Cancellation
from flowweaver.ports.stores import ChildProcess


class Dependency(Struct, frozen=True, gc=False):
    """What an attempt may know of a task that it depends on."""

    phase: str  # CamelCase, as expressions see it: "Completed", "Failed", "Skipped", "Cancelled"
    result: bytes | None  # JSON text; None where it did not complete
    error_type: str
    message: str
    attempts: int


@lru_cache(maxsize=1000)
def run_origin(store_id: str, workflow: str, run_id: str, generation: int) -> str:
    """The same for one generation of a run, whoever goes on with it, and for no other in any store."""
    return sha256(repr((store_id, workflow, run_id, generation)).encode()).hexdigest()[:32]


class Attempt(Struct, frozen=True):
    """One try of one task, with everything that it may know. What a runner gets."""

    id: AttemptId
    task: TaskPlan
    run: RunPlan
    run_started_at: float
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)  # by task name
    rerun_token: str = ""
    origin: str = ""  # tells the run from all others where its plan has no uid: see `run_origin`
    on_process: Callable[[ChildProcess], None] = lambda _: None  # call it as soon as a child process exists
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def idempotency_key(self) -> str:
        """The same over retries and restarts, another one for another task or rerun."""
        run = self.run.uid or self.origin or f"{self.run.namespace}/{self.run.name}"
        parts = (run, self.task.name, self.rerun_token)
        return ":".join(part for part in parts if part)


class Runner(Protocol):
    """Does what one kind of body says."""

    def __call__(self, attempt: Attempt) -> Outcome:
        """Run the body in the calling thread and give its outcome. What the body raises comes back as `Failed`; an
        exception out of here is a bug, and the executor turns it into a `Failed` too.
        """


class Executor(Protocol):
    """Runs attempts beside the engine."""

    def start(self, attempt: Attempt, ended: Callable[[AttemptEnded], None]) -> None:
        """Run it soon, without blocking. `ended` is called once, from any thread, when the body has returned."""

    def abandon(self, attempt: AttemptId) -> None:
        """Nobody waits for this attempt: ask its body to stop, and give its place to another one meanwhile."""

    def close(self, grace_seconds: float = 5.0) -> None:
        """Ask every body to stop, wait at most so long for their threads, leave nothing behind that can be ended."""
