"""Waiting for more before a turn: only where it saves a commit, and never for long."""

from __future__ import annotations

import threading
import time

from flowweaver.core.changes import Changes, TaskChanged
from flowweaver.core.phases import TaskPhase
from flowweaver.core.state import TaskState, World
from flowweaver.engine.gathering import MOST_SECONDS, MOST_TURNS, Gathering
from flowweaver.engine.inbox import Inbox


def ended_after(seconds: float) -> Changes:
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=100.0, finished_at=100.0 + seconds)
    return Changes(tasks=[TaskChanged(1, 0, state)])


def gathering_of(*, running: int, took: float = 0.001, commit: float = 0.001) -> Gathering:
    gathering = Gathering(World(workers=4, running=running))
    gathering.committed(ended_after(took), commit)
    return gathering


def test_nobody_waits_before_it_is_known_how_long_attempts_take():
    assert Gathering(World(workers=4, running=4)).seconds(1) == 0


def test_a_turn_waits_half_a_commit_for_attempts_that_are_shorter_than_one():
    gathering = gathering_of(running=4)
    assert gathering.seconds(1) == 0.0005
    assert gathering.seconds(4) == 0  # all are here


def test_nobody_waits_for_attempts_that_take_longer_than_a_commit():
    assert gathering_of(running=4, took=0.01).seconds(1) == 0


def test_nobody_waits_where_only_one_attempt_is_out():
    assert gathering_of(running=1).seconds(1) == 0


def test_a_slow_disk_makes_nobody_wait_long():
    assert gathering_of(running=4, commit=5.0).seconds(1) == MOST_SECONDS


def test_waiting_in_vain_is_tried_again_more_and_more_rarely():
    gathering = gathering_of(running=4)
    waited = 0
    for _ in range(20 * MOST_TURNS):
        if gathering.seconds(1):
            waited += 1
            gathering.waited(0)
    assert waited < 30


def test_waiting_that_was_worth_it_is_done_again():
    gathering = gathering_of(running=4)
    for _ in range(10):
        assert gathering.seconds(1) > 0
        gathering.waited(3)


def test_an_inbox_gives_everything_in_order_and_at_once():
    inbox = Inbox()
    for number in range(3):
        inbox.put(number)
    assert (len(inbox.items), inbox.gather(1, 60.0), inbox.take()) == (3, [0, 1, 2], [])


def test_an_inbox_wakes_its_reader_when_enough_has_arrived():
    inbox, taken = Inbox(), []
    reader = threading.Thread(target=lambda: taken.append(inbox.gather(3, 60.0)))
    reader.start()
    for number in range(3):
        assert not taken
        inbox.put(number)
    reader.join(60.0)
    assert taken == [[0, 1, 2]]


def test_an_inbox_gives_what_there_is_when_the_time_is_over():
    inbox = Inbox()
    inbox.put(1)
    assert inbox.gather(2, 0.01) == [1]
    assert inbox.gather(2, 0.01) == []


def test_an_inbox_loses_nothing_between_many_writers_and_a_reader_that_waits():
    inbox, taken = Inbox(), []
    writers = [
        threading.Thread(target=lambda first=first: [inbox.put(first + number) for number in range(2000)])
        for first in (0, 10_000, 20_000)
    ]
    for writer in writers:
        writer.start()
    while len(taken) < 6000:
        began = time.monotonic()
        inbox.wait(60.0)
        assert time.monotonic() - began < 50.0, "the reader was not woken"
        taken += inbox.take()
    for first in (0, 10_000, 20_000):
        assert [number for number in taken if first <= number < first + 2000] == list(range(first, first + 2000))
