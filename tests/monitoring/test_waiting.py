"""Numbers about what waits: statuses, keys, and a watch that says nothing."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest

from flowweaver.operator.api import ApiUnreachableError
from flowweaver.operator.gauges import watch_cluster, watch_store
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.stores import MemoryStore, SQLiteStore
from flowweaver.telemetry.metrics import Metrics
from tests.monitoring.test_metrics import shown
from tests.operator.test_queue import Clock
from tests.operator.test_status_writer import World, subject


@pytest.fixture
def world():
    made = World()
    made.states["a"] = "Running"
    return made


@pytest.fixture
def clock():
    made = Clock()
    made.now = 1000.0
    return made


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def writer(world, clock, metrics):
    made = StatusWriter(compose=world.compose, send=world.send, meter=metrics, threads=1, clock=clock)
    made.start()
    yield made
    world.gate.set()
    made.stop(5)


def lag(metrics, writes):
    """The lags of so many writes, together."""
    deadline = time.monotonic() + 30
    while shown(metrics)["flowweaver_status_lag_seconds_count",] < writes:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return shown(metrics)["flowweaver_status_lag_seconds_sum",]


def test_a_status_lags_from_the_first_change_that_it_shows(world, clock, metrics, writer):
    world.gate.clear()
    writer.want(subject("a"), urgent=True)
    while not world.limits:  # until it is composed
        time.sleep(0.01)
    clock.now += 4.0
    assert writer.oldest_wait_seconds() == 4.0, "one that is under way has not arrived yet"
    world.gate.set()

    assert lag(metrics, 1) == 4.0
    assert writer.oldest_wait_seconds() == 0.0


def test_a_change_while_a_status_is_written_waits_from_then_on(world, clock, metrics, writer):
    world.gate.clear()
    writer.want(subject("a"), urgent=True)
    while not world.limits:
        time.sleep(0.01)
    clock.now += 3.0
    world.states["a"] = "Completed"
    writer.touch("a", urgent=True)
    clock.now += 4.0
    world.gate.set()

    assert lag(metrics, 2) == 7.0 + 4.0


def test_a_write_that_fails_leaves_the_time_of_the_first_change(world, clock, metrics, writer):
    world.failures = [ApiUnreachableError("away")]
    writer.want(subject("a"), urgent=True)
    while world.failures:
        time.sleep(0.01)
    clock.now += 9.0

    assert lag(metrics, 1) == 9.0


def test_work_that_is_under_way_is_summed():
    clock = Clock()
    queue = WorkQueue(clock=clock)
    for key in ("a", "b"):
        queue.add(key)
        queue.take(0)
        clock.now += 2.0

    assert (queue.working, queue.unfinished_work_seconds(), queue.oldest_work_seconds()) == (2, 6.0, 4.0)
    queue.done("a")
    assert (queue.working, queue.unfinished_work_seconds()) == (1, 2.0)


@pytest.mark.parametrize(
    ("event", "agreed", "age"), [(None, None, None), (5.0, None, 5.0), (500.0, 7.0, 7.0), (3.0, 7.0, 3.0)]
)
def test_a_watch_is_as_old_as_the_last_thing_that_showed_it_to_be_whole(metrics, event, agreed, age):
    now = time.monotonic()
    before = {"event": event, "agreed": agreed}
    at = {name: None if seconds is None else now - seconds for name, seconds in before.items()}
    watch_cluster(
        metrics,
        cache=[],
        lease=SimpleNamespace(held=True),
        writer=Waiting(),
        watcher=SimpleNamespace(event_at=at["event"]),
        sweeper=SimpleNamespace(agreed_at=at["agreed"]),
    )
    found = shown(metrics)["flowweaver_watch_age_seconds",]
    assert math.isnan(found) if age is None else age <= found < age + 60


class Waiting(list):
    """Statuses that wait: none."""

    def oldest_wait_seconds(self):
        return 0.0


def test_a_state_file_tells_its_size_and_what_is_left_beside_it(metrics, tmp_path):
    store = SQLiteStore(tmp_path / "state.db", clock=SimpleNamespace(now=time.time))
    watch_store(metrics, store)
    values = shown(metrics)
    assert values["flowweaver_store_database_bytes",] > 0
    assert 0 < values["flowweaver_store_free_bytes",] < values["flowweaver_store_capacity_bytes",]
    assert values["flowweaver_store_openings",] == 1
    store.close()


def test_a_store_in_memory_has_no_volume(metrics):
    watch_store(metrics, MemoryStore())
    assert ("flowweaver_store_free_bytes",) not in shown(metrics)
