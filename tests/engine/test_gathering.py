"""Waiting for more before a turn: only where it saves a commit, and never for long."""

from __future__ import annotations

from flowweaver.core.changes import Changes, TaskChanged
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import TaskState, World
from flowweaver.engine.gathering import MOST_SECONDS, MOST_TURNS, Gathering
from flowweaver.testing.simulation import ManualClock


def ended_after(seconds: float) -> Changes:
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=100.0, finished_at=100.0 + seconds)
    return Changes(tasks=[TaskChanged(1, 0, state)])


def gathering_of(*, running: int, took: float = 0.001, commit: float = 0.001) -> tuple[Gathering, ManualClock]:
    clock, world = ManualClock(), World(workers=4)
    world.running = running
    gathering = Gathering(world, clock)
    gathering.committed(ended_after(took), commit)
    return gathering, clock


def test_nobody_waits_before_it_is_known_how_long_attempts_take():
    world = World(workers=4, running=4)
    assert Gathering(world, ManualClock()).seconds(1) == 0


def test_a_turn_waits_half_a_commit_for_attempts_that_are_shorter_than_one():
    gathering, clock = gathering_of(running=4)
    assert gathering.seconds(1) == 0.0005
    clock.advance(0.0002)
    assert 0 < gathering.seconds(2) < 0.0004
    assert gathering.seconds(4) == 0  # all are here


def test_nobody_waits_for_attempts_that_take_longer_than_a_commit():
    gathering, _ = gathering_of(running=4, took=0.01)
    assert gathering.seconds(1) == 0


def test_nobody_waits_where_only_one_attempt_is_out():
    gathering, _ = gathering_of(running=1)
    assert gathering.seconds(1) == 0


def test_a_slow_disk_makes_nobody_wait_long():
    gathering, _ = gathering_of(running=4, commit=5.0)
    assert gathering.seconds(1) == MOST_SECONDS


def test_waiting_in_vain_is_tried_again_more_and_more_rarely():
    gathering, clock = gathering_of(running=4)
    waited = 0
    for _ in range(20 * MOST_TURNS):
        if gathering.seconds(1):
            waited += 1
            clock.advance(1.0)
            assert gathering.seconds(1) == 0  # the time is over
    assert waited < 30


def test_waiting_that_was_worth_it_is_done_again():
    gathering, _ = gathering_of(running=4)
    for _ in range(10):
        assert gathering.seconds(1) > 0
        assert gathering.seconds(4) == 0
