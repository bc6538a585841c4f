"""The status writer: the newest picture, ends first, no more than the API server can bear, nothing lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from flowweaver.operator.api import (
    ApiBusyError,
    ApiConflictError,
    ApiError,
    ApiForbiddenError,
    ApiGoneError,
    ApiRefusedError,
    ApiTooLargeError,
    ApiUnreachableError,
)
from flowweaver.operator.budgets import Budget
from flowweaver.operator.status_writer import StatusWriter, _delay
from flowweaver.operator.subjects import Composed, OfRun, Subject
from flowweaver.telemetry.metrics import Metrics


class World:
    """Runs whose state a test sets, and an API server that a test makes fail."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.written: list[tuple[str, str]] = []
        self.failures: list[ApiError] = []
        self.limits: list[int | None] = []
        self.patches: list[object] = []
        self.changed = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()

    def compose(self, subject: Subject, limit: int | None) -> Composed | None:
        self.limits.append(limit)
        state = self.states.get(subject.uid)
        return None if state is None else Composed({"phase": state}, final=state == "Completed")

    def send(self, subject: Subject, composed: Composed, patch: bytes) -> None:
        self.gate.wait(30)
        with self.changed:
            if self.failures:
                self.changed.notify_all()
                raise self.failures.pop(0)
            self.patches.append(json.loads(patch))
            self.written.append((subject.uid, composed.status["phase"]))
            self.changed.notify_all()

    def await_written(self, count: int) -> list[tuple[str, str]]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.written) >= count, 30), self.written
            return list(self.written)


def subject(uid: str) -> Subject:
    return Subject(namespace="shop", name=uid, uid=uid, generation=1, about=OfRun(1))


@contextmanager
def writing(world: World, *, threads: int = 1, clock: Callable[[], float] = time.monotonic) -> Iterator[StatusWriter]:
    writer = StatusWriter(compose=world.compose, send=world.send, meter=Metrics(), threads=threads, clock=clock)
    writer.start()
    try:
        yield writer
    finally:
        world.gate.set()
        writer.stop(5)


def stopped() -> float:
    """A clock on which nothing that must wait ever comes due."""
    return 1000.0


def test_a_run_that_ends_at_once_is_written_once():
    world = World()
    with writing(world, clock=stopped) as writer:
        world.states = {"a": "Running", "b": "Completed", "c": "Completed"}
        writer.want(subject("a"))
        writer.want(subject("b"), urgent=True)
        world.await_written(1)
        writer.want(subject("c"), urgent=True)
        world.await_written(2)
        world.states["a"] = "Completed"
        writer.touch("a", urgent=True)
        assert world.await_written(3) == [("b", "Completed"), ("c", "Completed"), ("a", "Completed")]


def test_an_end_does_not_wait_for_its_turn():
    world = World()
    with writing(world, clock=stopped) as writer:
        world.states["a"] = "Running"
        writer.want(subject("a"), urgent=True)
        world.await_written(1)
        writer.touch("a")  # its turn would come a second later
        world.states["a"] = "Completed"
        writer.touch("a", urgent=True)
        assert world.await_written(2) == [("a", "Running"), ("a", "Completed")]


def test_a_patch_tests_the_uid_and_replaces_the_status():
    world = World()
    with writing(world) as writer:
        world.states["a"] = "Completed"
        writer.want(subject("a"), urgent=True)
        world.await_written(1)
    assert world.patches == [
        [
            {"op": "test", "path": "/metadata/uid", "value": "a"},
            {"op": "add", "path": "/status", "value": {"phase": "Completed"}},
        ]
    ]


def test_ends_come_before_everything_else():
    world = World()
    world.gate.clear()
    with writing(world) as writer:
        world.states = {"first": "Running", "b": "Running", "c": "Running", "end": "Completed"}
        writer.want(subject("first"), urgent=True)
        writer.want(subject("b"))
        writer.want(subject("c"))
        writer.want(subject("end"), urgent=True)
        world.gate.set()
        written = world.await_written(4)
    assert [uid for uid, _ in written][:2] == ["first", "end"]


def test_what_changes_while_it_is_being_written_is_written_afterwards():
    world = World()
    world.gate.clear()
    with writing(world) as writer:
        world.states["a"] = "Running"
        writer.want(subject("a"), urgent=True)
        assert _eventually(lambda: world.limits == [None])  # it has been composed
        world.states["a"] = "Completed"
        writer.touch("a", urgent=True)
        world.gate.set()
        assert world.await_written(2) == [("a", "Running"), ("a", "Completed")]


@pytest.mark.parametrize(
    "error", [ApiBusyError("busy", status=429), ApiBusyError("down", status=503), ApiConflictError("409", status=409)]
)
def test_a_write_that_fails_for_a_while_is_repeated(error):
    world = World()
    world.failures = [error]
    with writing(world) as writer:
        world.states["a"] = "Completed"
        writer.want(subject("a"), urgent=True)
        assert world.await_written(1) == [("a", "Completed")]


def test_an_overloaded_server_is_left_alone_as_long_as_it_asks_and_a_starting_one_is_asked_again_soon():
    assert _delay(1, ApiBusyError("overloaded", status=429, retry_after_seconds=30)) == 30
    assert _delay(1, ApiBusyError("starting", status=503, retry_after_seconds=30)) == 1
    assert [_delay(failures, ApiBusyError("down", status=500)) for failures in (1, 2, 3, 50)] == [0.5, 1.0, 2.0, 60.0]


def test_while_the_api_server_is_away_nothing_is_lost():
    world = World()
    world.failures = [ApiUnreachableError("refused")]
    with writing(world) as writer:
        for uid in "abc":
            world.states[uid] = "Completed"
            writer.want(subject(uid), urgent=True)
        assert sorted(world.await_written(3)) == [(uid, "Completed") for uid in "abc"]


@pytest.mark.parametrize("error", [ApiGoneError("404", status=404), ApiRefusedError("422: testing value", status=422)])
def test_an_object_that_is_gone_or_another_one_is_dropped(error):
    world = World()
    world.failures = [error]
    with writing(world) as writer:
        world.states = {"gone": "Completed", "next": "Completed"}
        writer.want(subject("gone"), urgent=True)
        assert _eventually(lambda: not world.failures)
        writer.want(subject("next"), urgent=True)
        writer.touch("gone", urgent=True)
        assert world.await_written(1) == [("next", "Completed")]
    assert world.written == [("next", "Completed")]


def test_a_status_that_is_too_large_shrinks():
    world = World()
    world.failures = [ApiTooLargeError("request is too large", status=500)]
    with writing(world) as writer:
        world.states["a"] = "Completed"
        writer.want(subject("a"), urgent=True)
        world.await_written(1)
    assert world.limits[0] is None
    assert isinstance(world.limits[-1], int)


def test_what_nobody_wants_and_what_was_dropped_is_not_written():
    world = World()
    with writing(world) as writer:
        world.states = {"stranger": "Running", "dropped": "Running", "wanted": "Completed"}
        writer.touch("stranger", urgent=True)
        writer.want(subject("dropped"))
        writer.drop("dropped")
        writer.want(subject("wanted"), urgent=True)
        assert world.await_written(1) == [("wanted", "Completed")]
    assert world.written == [("wanted", "Completed")]


def test_stopping_writes_what_waits_for_its_turn():
    world = World()
    with writing(world, clock=stopped) as writer:
        world.states["a"] = "Running"
        writer.want(subject("a"), urgent=True)
        world.await_written(1)
        world.states["a"] = "Suspended"
        writer.touch("a")  # its turn would come a second later
        assert writer.stop(30)
    assert world.written == [("a", "Running"), ("a", "Suspended")]


def test_stopping_tells_when_not_everything_could_be_written():
    world = World()
    world.failures = [ApiForbiddenError("403", status=403)] * 100
    with writing(world) as writer:
        world.states["a"] = "Completed"
        writer.want(subject("a"), urgent=True)
        assert not writer.stop(0.2)


def test_the_same_picture_is_not_written_twice_unless_it_is_wanted_again():
    world = World()
    with writing(world) as writer:
        world.states = {"a": "Running", "b": "Completed"}
        writer.want(subject("a"), urgent=True)
        world.await_written(1)
        writer.touch("a", urgent=True)
        assert _eventually(lambda: len(world.limits) == 2)
        writer.want(subject("b"), urgent=True)
        assert world.await_written(2) == [("a", "Running"), ("b", "Completed")]
        writer.want(subject("a"), urgent=True)
        assert world.await_written(3)[2:] == [("a", "Running")]


def test_several_threads_write_each_object_one_at_a_time():
    world = World()
    with writing(world, threads=4) as writer:
        for number in range(100):
            world.states[str(number)] = "Running"
            writer.want(subject(str(number)), urgent=True)
        world.await_written(100)
        for number in range(100):
            world.states[str(number)] = "Completed"
            writer.touch(str(number), urgent=True)
        world.await_written(200)
    for number in range(100):
        mine = [phase for uid, phase in world.written if uid == str(number)]
        assert mine == ["Running", "Completed"]


def test_a_budget_lets_a_burst_pass_and_then_its_rate():
    budget = Budget(writes_a_second=10, bytes_a_second=1e9, burst_seconds=2, now=0.0)
    for _ in range(20):
        assert budget.seconds_to_wait(0.0) == 0
        budget.spend(100, 0.0)
    budget.spend(100, 0.0)
    assert budget.seconds_to_wait(0.0) == pytest.approx(0.1)
    assert budget.seconds_to_wait(0.1) == pytest.approx(0.0)


def test_a_budget_counts_bytes():
    budget = Budget(writes_a_second=1e9, bytes_a_second=1000, burst_seconds=1, now=0.0)
    budget.spend(3000, 0.0)
    assert budget.seconds_to_wait(0.0) == pytest.approx(2.0)


def test_a_strained_api_server_gets_less_and_a_well_one_more_again():
    budget = Budget(writes_a_second=10, bytes_a_second=1e9, burst_seconds=1, now=0.0)
    budget.strained()
    assert budget.share == 0.5
    budget.answered(30.0)
    assert budget.share == 0.25
    for _ in range(100):
        budget.answered(0.01)
    assert budget.share == 1.0
    for _ in range(100):
        budget.strained()
    assert budget.share == 0.02


def _eventually(holds: Callable[[], bool]) -> bool:
    waits = threading.Event()
    for _ in range(3000):
        if holds():
            return True
        waits.wait(0.01)
    return False
