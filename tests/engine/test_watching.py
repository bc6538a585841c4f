"""What is told to whoever watches a run."""

from __future__ import annotations

import pytest

from flowweaver.core.events import Completed
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan
from tests.engine.conftest import task
from tests.engine.opening import BROKEN, Watcher, opened


def test_who_watches_a_run_is_told_of_that_run_and_in_order(bench):
    first, second = Watcher(wants_notices=True), Watcher()
    opened(bench, task("a"), task("b", "a"), watcher=first)
    other = opened(bench, task("a"), run_id="other", watcher=second).key
    bench.end("a", run=1, outcome=Completed(b"1"))
    bench.end("a", run=other, outcome=Completed(b"2"))
    bench.end("b", outcome=Completed(b"3"))
    assert first.results == {0: b"1", 1: b"3"}
    assert second.results == {0: b"2"}
    assert first.told == [
        "a: running",
        "recorded",
        "a: completed",
        "b: running",
        "recorded",
        "b: completed",
        "ended completed",
    ]
    assert second.told == ["recorded", "ended completed"]


@pytest.mark.parametrize("wants_notices", [False, True])
def test_of_attempts_that_fail_who_watches_is_told_whatever_else_he_wants(bench, wants_notices):
    watcher, plan = Watcher(wants_notices=wants_notices), [task("a", retry=RetryPolicy(limit=1, delay_seconds=5))]
    opened(bench, *plan, task("b"), task("c", timeout_seconds=9.0), task("d", "a"), watcher=watcher)
    opened(bench, task("a"), run_id="other")
    bench.end("b")
    bench.end("a", run=1, outcome=BROKEN)
    bench.pass_time(5)
    bench.pass_time(4)
    bench.end("a", run=1, outcome=BROKEN)
    said = [sentence for sentence in watcher.told if "trouble" in sentence]
    # What could not come to a next attempt was cancelled, and what needed it was skipped: that is no attempt's failure.
    assert said == [
        "a in trouble: waiting ValueError",
        "c in trouble: failed Timeout",
        "a in trouble: failed ValueError",
    ]
    if wants_notices:
        place = watcher.told.index("a in trouble: waiting ValueError")
        assert watcher.told[place - 1] == "a: waiting"
    assert watcher.told[-1] == "ended failed"


def test_what_a_crash_has_failed_for_good_is_told(bench):
    plan = RunPlan(tasks=(task("a", on_crash=OnCrash.FAIL), task("b")), failure_policy=FailurePolicy.CONTINUE)
    opened(bench, plan)
    bench.open(recover=False)
    watcher = Watcher()
    opened(bench, plan, watcher=watcher)
    assert watcher.told == ["a in trouble: failed"]


def test_no_notice_is_made_where_nobody_wants_one(bench, monkeypatch):
    bench.conductor.listeners.clear()
    monkeypatch.setattr("flowweaver.engine.conductor.TaskNotice", lambda *_: pytest.fail("a notice was made"))
    opened(bench, task("a"))
    bench.end("a")
    assert bench.head().phase == "completed"


def test_a_watcher_that_fails_harms_nobody(bench, caplog):
    class Failing(Watcher):
        def recorded(self, results):
            raise ValueError("it can not take it")

    opened(bench, task("a"), watcher=Failing())
    bench.end("a")
    assert bench.head().phase == "completed"
    assert "who watches a run has failed" in caplog.text


def test_a_run_that_can_not_be_watched_is_not_started_and_can_be_opened_later(bench):
    def observe(run, opening):
        raise ValueError("no")

    watcher = Watcher()
    watcher.observe = observe
    with pytest.raises(ValueError, match="no"):
        opened(bench, task("a"), watcher=watcher)
    assert (bench.started, bench.conductor.world.runs) == ([], {})
    assert opened(bench, task("a")).outcome == "resumed"
    assert bench.started == ["a#1"]
