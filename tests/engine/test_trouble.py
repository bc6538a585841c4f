"""What happens at awkward moments: before a run is whole, while the store fails, and after months."""

from __future__ import annotations

import logging

import pytest

from flowweaver.core.events import (
    Completed,
    Deferred,
    DrainRequested,
    Failed,
    InterruptRequested,
    RerunRequested,
    SettingsRequested,
    Shutdown,
    ShutdownRequested,
)
from flowweaver.core.invariants import violations
from flowweaver.core.plan import FailurePolicy, OnCrash, RunPlan
from flowweaver.engine import inputs, timers
from flowweaver.errors import CommitUnknown, StoreUnavailable
from flowweaver.ports import RunName
from flowweaver.stores import MemoryStore
from tests.engine.conftest import Bench, task


class Unreliable(MemoryStore):
    """A store of which one operation fails as often as the test says."""

    def __init__(self):
        super().__init__()
        self.failing = {}  # name -> errors still to be raised

    def fail(self, operation: str, *errors: Exception) -> None:
        self.failing[operation] = list(errors)

    def _may(self, operation: str) -> None:
        if self.failing.get(operation):
            raise self.failing[operation].pop(0)

    def create_runs(self, runs):
        self._may("create_runs")
        return super().create_runs(runs)

    def create_tasks(self, run, first, names):
        self.read_run(run)  # a file has a foreign key there
        super().create_tasks(run, first, names)

    def commit(self, changes, processes=()):
        self._may("commit")
        super().commit(changes, processes)

    def read_results(self, run, tasks):
        self._may("read_results")
        return super().read_results(run, tasks)

    def delete_run(self, run):
        self._may("delete_run")
        super().delete_run(run)


def wide(size: int = 3500, **fields) -> RunPlan:
    return RunPlan(tasks=(task("t0"), *(task(f"t{n}", "t0") for n in range(1, size))), **fields)


# ------------------------------------------------------------------------------------------- before a run is whole


def test_a_shutdown_that_is_asked_for_while_the_rows_are_written_is_carried_out():
    bench = Bench()
    key = bench.conductor.submit(RunName("w"), wide())
    bench.conductor.turn([ShutdownRequested(key, Shutdown.STOP)])
    bench.turn()
    assert bench.head(key).phase == "cancelled"
    assert bench.started == []


def test_settings_of_a_run_that_waits_behind_other_submissions_hold():
    bench = Bench()
    bench.conductor.submit(RunName("w", "first"), RunPlan(tasks=(task("a"),)))
    key = bench.conductor.submit(RunName("w", "second"), RunPlan(tasks=(task("b"),)))
    bench.conductor.turn([SettingsRequested(key, suspended=True)])
    bench.turn()
    assert bench.started == ["a#1"]
    assert bench.head(key).phase == "suspended"


def test_a_rerun_that_is_asked_for_while_the_rows_are_written_takes_nothing_in_twice():
    bench = Bench()
    key = bench.conductor.submit(RunName("w"), wide())
    request = bench.conductor.intake.rerun(RerunRequested(key, "early"))
    bench.conductor.turn([request] if request else [])
    bench.turn()
    assert bench.started == ["t0#1"]
    assert violations(bench.conductor.world) == []
    bench.end("t0")
    assert violations(bench.conductor.world) == []


def test_a_run_whose_rows_are_being_written_can_not_be_forgotten():
    bench = Bench(store=Unreliable())
    key = bench.conductor.submit(RunName("w"), wide())
    bench.conductor.turn(())
    bench.conductor.forget(key)
    bench.turn()
    assert bench.started == ["t0#1"]


def test_a_run_that_ends_while_its_rows_are_written_after_a_restart_can_be_forgotten():
    bench = Bench(store=Unreliable())
    key = bench.conductor.submit(RunName("w"), wide())
    bench.open()
    bench.conductor.turn([ShutdownRequested(key, Shutdown.TERMINATE)])
    bench.conductor.forget(key)
    bench.turn()
    with pytest.raises(KeyError):
        bench.store.read_run(key)


def test_rows_that_a_second_crash_left_out_are_written_too():
    written = []

    class Noting(MemoryStore):
        def create_tasks(self, run, first, names):
            written.append(first)
            super().create_tasks(run, first, names)

    bench = Bench(store=Noting())
    bench.conductor.submit(RunName("w"), wide())
    bench.open()  # t0 starts now, before the rows are all there
    written.clear()
    bench.open()
    bench.turn()
    assert written == [1000, 2000, 3000]


# ---------------------------------------------------------------------------------------------- while the store fails


def test_a_result_that_can_not_be_read_now_delays_the_attempt_and_loses_nothing():
    bench = Bench(store=Unreliable())
    bench.submit(task("a"), task("b", "a"), task("c", "a"))
    bench.end("a", outcome=Completed(b"7"))
    bench.open()  # results are no longer in memory
    bench.turn(InterruptRequested())
    bench.store.fail("read_results", StoreUnavailable("disk I/O error"), StoreUnavailable("disk I/O error"))
    bench.open()
    assert bench.pauses == [0.5, 0.5]
    assert sorted(name.split("#")[0] for name in bench.started[-2:]) == ["b", "c"]
    assert bench.attempts[-1].dependencies["a"].result == b"7"
    bench.end("b", "c")
    assert bench.head().phase == "completed"


def test_a_submission_outlasts_a_disk_that_is_full_for_hours():
    bench = Bench(store=Unreliable())
    bench.store.fail("create_runs", *[StoreUnavailable("database or disk is full")] * 5000)
    bench.submit(task("a"))
    assert bench.started == ["a#1"]
    assert len(bench.pauses) == 5000


def test_a_store_that_stays_unwritable_is_logged_once_and_said_all_the_time(caplog):
    caplog.set_level(logging.INFO)
    bench = Bench(store=Unreliable())
    bench.submit(task("a"), task("b", "a"))
    said = []
    bench.store.position = lambda: said.append(bench.conductor.store_error) or bench.conductor.position
    bench.store.fail("commit", *[StoreUnavailable("database or disk is full")] * 50)
    bench.end("a")
    assert said == ["database or disk is full"] * 50
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert bench.conductor.store_error == ""


def test_a_disk_on_which_every_commit_is_ambiguous_is_not_tried_without_a_pause():
    bench = Bench(store=Unreliable())
    bench.submit(task("a"))
    bench.store.fail("commit", *[CommitUnknown("disk I/O error")] * 3)
    bench.end("a")
    assert bench.pauses == [0.0, 0.5, 0.5]


def test_a_run_that_could_not_be_forgotten_can_be_later():
    bench = Bench(store=Unreliable())
    key = bench.submit(task("a"))
    bench.end("a")
    bench.store.fail("delete_run", StoreUnavailable("disk I/O error"))
    with pytest.raises(StoreUnavailable):
        bench.conductor.forget(key)
    bench.submit(task("a"), run_id="other")
    bench.conductor.forget(key)
    assert bench.store.find_run(RunName("w", "r")) is None


# ------------------------------------------------------------------------------------------------------- after months


def test_timers_of_what_is_over_do_not_pile_up():
    bench = Bench(workers=1)
    rounds = 4 * timers.LEAST_ROOM
    for number in range(rounds):
        bench.submit(task("a", timeout_seconds=10**6), run_id=str(number), timeout_seconds=10**6)
        bench.end("a")
    conductor = bench.conductor
    assert max(len(conductor._due), len(conductor._timeouts)) <= timers.LEAST_ROOM


def test_a_timer_that_still_holds_outlives_the_clearing_of_others():
    bench = Bench(workers=2)
    bench.submit(task("slow", timeout_seconds=10**6), run_id="slow")
    for number in range(3 * timers.LEAST_ROOM):
        bench.submit(task("a", timeout_seconds=10**6), run_id=str(number))
        bench.end("a")
    bench.pass_time(10**6)
    assert bench.reasons(1)["slow"] == "Timeout"


def test_results_that_wait_for_a_reader_take_a_bounded_part_of_memory(monkeypatch):
    monkeypatch.setattr(inputs, "KEPT_BYTES", 1000)
    bench = Bench(workers=20)
    names = [f"t{n}" for n in range(20)]
    bench.submit(*map(task, names), task("all", *names))
    for name in names:
        bench.end(name, outcome=Completed(b'"%s"' % (name.encode() * 50)))
    held = sum(len(kept.known.result) for run in bench.conductor._inputs._kept.values() for kept in run.values())
    assert 0 < held <= 1000
    dependencies = bench.attempts[-1].dependencies
    assert {name: each.result for name, each in dependencies.items()} == {
        name: b'"%s"' % (name.encode() * 50) for name in names
    }
    bench.end("all")
    assert bench.conductor._inputs.bytes == 0


# -------------------------------------------------------------------------------------------------- interplay of wishes


def test_a_suspended_run_that_is_run_again_has_its_timeout_again(bench):
    key = bench.submit(task("a"), timeout_seconds=30)
    bench.end("a", outcome=Failed(message="it broke"))
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "again")), SettingsRequested(key, suspended=True))
    assert bench.head(key).phase == "suspended"
    bench.turn(SettingsRequested(key, suspended=False))
    assert bench.started == ["a#1", "a#2"]
    bench.pass_time(30)
    assert bench.head(key).reason == "WorkflowTimeout"


def test_an_interruption_does_not_repeat_what_must_not_be_repeated(bench):
    bench.submit(
        task("once", on_crash=OnCrash.FAIL),
        task("often"),
        failure_policy=FailurePolicy.CONTINUE,
    )
    bench.turn(InterruptRequested())
    assert (bench.phases()["once"], bench.reasons()["once"]) == ("failed", "Interrupted")
    bench.open()
    assert bench.started == ["once#1", "often#1", "often#2"]


def test_an_interruption_that_fails_a_run_fast_leaves_nothing_running(bench):
    bench.submit(task("once", on_crash=OnCrash.FAIL), task("often"), task("after", "often"))
    bench.turn(InterruptRequested())
    assert bench.phases() == {"once": "failed", "often": "cancelled", "after": "cancelled"}
    assert bench.head().phase == "failed"
    assert violations(bench.conductor.world) == []


def test_a_workflow_timeout_holds_for_a_suspended_run_too(bench):
    key = bench.submit(task("a"), task("b", "a"), timeout_seconds=30)
    bench.turn(SettingsRequested(key, suspended=True))
    bench.pass_time(30)
    assert (bench.head(key).phase, bench.head(key).reason) == ("failed", "WorkflowTimeout")


def test_a_run_of_which_everything_waits_at_a_crash_is_completed_after_it(bench):
    key = bench.submit(task("a"), task("b"), parallelism=1)
    until = bench.clock.now() + 5
    bench.end("a", outcome=Deferred(until=until))
    bench.end("b", outcome=Deferred(until=until))
    bench.clock.advance(10)
    bench.open()
    assert bench.head(key).phase == "completed"


def test_a_run_that_was_ended_while_suspended_is_suspended_when_it_is_run_again(bench):
    key = bench.submit(task("a"), suspended=True)
    bench.turn(ShutdownRequested(key, Shutdown.TERMINATE))
    assert bench.head(key).phase == "cancelled"
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "again")))
    assert bench.head(key).phase == "suspended"
    bench.turn(SettingsRequested(key, suspended=False))
    assert bench.started == ["a#1"]


def test_two_reruns_at_once_are_one_and_a_completed_run_takes_note_of_its_own(bench):
    key = bench.submit(task("a"))
    bench.end("a", outcome=Failed())
    bench.turn(*(bench.conductor.intake.rerun(RerunRequested(key, token)) for token in "xy"))
    assert bench.started == ["a#1", "a#2"]
    bench.end("a")
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "z")))
    assert (bench.head(key).phase, bench.head(key).rerun_token) == ("completed", "z")
    assert bench.conductor.world.runs == {}


def test_a_completed_run_that_a_rerun_looks_at_is_let_go_of_also_when_its_token_is_what_it_was(bench):
    key = bench.submit(task("a"))
    bench.end("a")
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "x")))
    bench.turn(*(bench.conductor.intake.rerun(RerunRequested(key, token)) for token in "yx"))
    assert (bench.head(key).phase, bench.head(key).rerun_token) == ("completed", "x")
    assert (bench.conductor.world.runs, bench.conductor.intake.names) == ({}, {})


def test_a_rerun_takes_in_no_run_that_is_left_alone():
    bench = Bench()
    key = bench.submit(task("a"))
    bench.open(recover=False)
    assert bench.conductor.intake.rerun(RerunRequested(key, "again")) is None
    assert (bench.conductor.world.runs, bench.phases(key)) == ({}, {"a": "running"})


def test_a_rerun_that_comes_while_draining_starts_with_the_next_life(bench):
    key = bench.submit(task("a"))
    bench.end("a", outcome=Failed())
    bench.turn(DrainRequested())
    bench.turn(bench.conductor.intake.rerun(RerunRequested(key, "again")))
    assert (bench.head(key).phase, bench.started) == ("pending", ["a#1"])
    bench.open()
    assert bench.started == ["a#1", "a#2"]
