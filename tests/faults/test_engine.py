"""An engine on a store that fails: it waits, ends when it is told to, and loses no other run to one that is damaged.

The full disks are real file systems, which only root can mount.
"""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from flowweaver.assembly import build_engine
from flowweaver.core.events import RerunRequested, SettingsRequested
from flowweaver.errors import InternalError
from flowweaver.policy import Policy
from flowweaver.ports import RunName
from tests.faults.runs import planned

PATIENCE_SECONDS = 60


@pytest.fixture
def engine_on():
    def build(path):
        return build_engine(path, policy=Policy.permissive(), workers=2)

    return build


def spoil(path, statement):
    """Write to a closed state file what no version of ours would."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE plans SET plan = substr(plan, 1, 20) WHERE run = 2", "its plan can not be read"),
        ("UPDATE plans SET plan = CAST(x'ff7b7d' AS TEXT) WHERE run = 2", "text that is none"),
        ("DELETE FROM plans WHERE run = 2", "has no plan"),
        ("UPDATE task_runs SET status = 'sleeping' WHERE run = 2", "'sleeping' is no phase"),
    ],
)
def test_a_run_that_can_not_be_read_is_left_alone_and_the_others_go_on(tmp_path, engine_on, damage, said):
    path = tmp_path / "s.db"
    plan = planned({"name": "a", "value": 1}, {"name": "b", "dependsOn": ["a"], "value": 2}, suspend=True)
    with engine_on(path) as assembly:
        assembly.engine.start()
        keys = [assembly.engine.submit(RunName("w", str(number)), plan) for number in range(3)]
    spoil(path, damage)
    with engine_on(path) as assembly:
        engine = assembly.engine.start()
        for key in keys:
            engine.request(SettingsRequested(key, suspended=False))
        assert engine.wait(keys[0], PATIENCE_SECONDS).head.phase == "completed"
        assert engine.wait(keys[2], PATIENCE_SECONDS).head.phase == "completed"
        assert list(engine.damaged) == [keys[1]]
        assert said in engine.damaged[keys[1]]
        assert engine.health().failure == ""
        engine.forget(keys[1])
        assert engine.damaged == {}
        again = engine.submit(RunName("w", "1"), planned({"name": "a", "value": 1}))
        assert engine.wait(again, PATIENCE_SECONDS).head.phase == "completed"


def test_a_damaged_finished_run_is_no_matter_until_it_is_run_again(tmp_path, engine_on):
    path = tmp_path / "s.db"
    with engine_on(path) as assembly:
        engine = assembly.engine.start()
        key = engine.submit(RunName("w", "failed"), planned({"name": "a", "value": "${1 / 0}"}))
        engine.wait(key, PATIENCE_SECONDS)
    spoil(path, "UPDATE plans SET plan = 'none'")
    with engine_on(path) as assembly:
        engine = assembly.engine.start()
        assert engine.damaged == {}
        engine.request(RerunRequested(key, "again"))
        other = engine.submit(RunName("w", "other"), planned({"name": "a", "value": 1}))
        assert engine.wait(other, PATIENCE_SECONDS).head.phase == "completed"
        assert list(engine.damaged) == [key]


def test_an_engine_whose_disk_is_full_says_what_is_wrong_and_goes_on_when_there_is_room(volume, engine_on):
    failures = []
    with engine_on(volume.folder / "s.db") as assembly:
        engine = assembly.engine
        engine.on_store_failure(failures.append)
        engine.start()
        done = engine.submit(RunName("w", "done"), planned({"name": "a", "value": 1}))
        engine.wait(done, PATIENCE_SECONDS)
        volume.fill()
        keys = []
        filler = threading.Thread(target=lambda: keys.extend(_many(engine, 3000)), daemon=True)
        filler.start()
        until = time.monotonic() + PATIENCE_SECONDS
        while not engine.health().store_error:
            assert time.monotonic() < until, "the disk was never found to be full"
            time.sleep(0.01)
        assert "the disk is full" in engine.health().store_error
        assert not engine.health().accepting
        assert set(failures) == {"full"}
        volume.hog.unlink()
        while engine.health().store_error:
            assert time.monotonic() < until, "it did not go on"
            time.sleep(0.01)
        assert engine.health().accepting
        assert engine.snapshot(done).head.phase == "completed"


def _many(engine, count):
    plan = planned(*({"name": f"t{number}", "value": "x" * 900} for number in range(5)))
    for number in range(count):
        try:
            yield engine.submit(RunName("many", str(number)), plan)
        except InternalError:  # the engine was stopped
            return


@pytest.mark.slow
def test_an_engine_whose_disk_is_full_does_not_wait_for_what_can_not_be_recorded(volume, engine_on):
    with engine_on(volume.folder / "s.db") as assembly:
        engine = assembly.engine.start()
        plan = planned({"name": "a", "shell": {"script": "sleep 0.2; head -c 900000 /dev/zero | tr '\\0' x"}})
        volume.fill()
        volume.free_some(64 << 10)
        engine.submit(RunName("w"), plan)
        until = time.monotonic() + PATIENCE_SECONDS
        while not engine.health().store_error:
            assert time.monotonic() < until, "the disk was never found to be full"
            time.sleep(0.01)
        began = time.monotonic()
        engine.stop(grace_seconds=600)
        assert time.monotonic() - began < PATIENCE_SECONDS
