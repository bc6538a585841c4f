"""What each part of the contract of a store begins with: a store, and values with a word in every field."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flowweaver.core.events import Shutdown
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import FailurePolicy, Jitter, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import Store


class AnyStore(ABC):
    """How a contract gets its stores."""

    @abstractmethod
    def opened(self, folder: Path) -> Store:
        """A new, empty store; what it needs on disk is in `folder`."""

    @abstractmethod
    def restarted(self, store: Store, folder: Path) -> Store:
        """The same store as the next process sees it."""


AWKWARD = "tab\t newline\n nul\0 quote' \" umlaut ü snowman \u2603 astral \U0001f600 end"
"""Text that may be stored as it is."""


def plan_of(*names: str) -> RunPlan:
    """A plan of tasks that say nothing but their names."""
    return RunPlan(tasks=tuple(TaskPlan(name=name, kind="value", body={"value": name}) for name in names))


def rich_plan() -> RunPlan:
    """A plan with a word in every field."""
    task = TaskPlan(
        name="b",
        kind="http",
        body={"url": AWKWARD, "headers": [{"name": "A", "value": None}], "n": 1.5, "on": True},
        depends_on=("a",),
        trigger_rule=TriggerRule.ALL_FINISHED,
        retry=RetryPolicy(
            limit=3, delay_seconds=0.5, factor=1.5, max_delay_seconds=9, jitter=Jitter.FULL, when="x", timeouts=False
        ),
        timeout_seconds=2.5,
        allow_failure=True,
        on_crash=OnCrash.FAIL,
        version="v2",
    )
    return RunPlan(
        tasks=(*plan_of("a").tasks, task, TaskPlan(name="(outputs)", kind="outputs", internal=True)),
        name="n",
        namespace="ns",
        uid="u",
        params={"p": [1, "\ud800 lone", None, {"x": AWKWARD}]},
        failure_policy=FailurePolicy.CONTINUE,
        timeout_seconds=60.0,
        parallelism=2,
        priority=-1,
        suspended=True,
    )


RICH_HEAD = RunHead(
    phase=RunPhase.SUSPENDED,
    reason="Stopped",
    message=AWKWARD,
    created_at=1.25,
    started_at=2.5,
    finished_at=3.75,
    deadline=4.125,
    shutdown=Shutdown.TERMINATE,
    failed_fast=True,
    suspended=True,
    priority=-7,
    parallelism=3,
    rerun_token="again",  # noqa: S106 - no password
)

RICH_TASK = TaskState(
    phase=TaskPhase.WAITING,
    attempts=5,
    failures=2,
    crashes=1,
    reason="Backoff",
    message=AWKWARD,
    error_type="ValueError",
    not_before=9.5,
    started_at=8.25,
    finished_at=7.125,
)

COMPLETED = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)


def finished(head: RunHead = RunHead()) -> RunHead:  # noqa: B008 - a frozen value
    """The same run, completed."""
    return replace(head, phase=RunPhase.COMPLETED, finished_at=9.0)


@contextmanager
def raises(kind: type[Exception]) -> Iterator[None]:
    """As in a test framework: the block raises that."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
