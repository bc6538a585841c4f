"""What of a run holds that is gone on with under another plan."""

from __future__ import annotations

import pytest

from flowweaver.core.events import Completed
from flowweaver.core.plan import FailurePolicy, RetryPolicy, RunPlan, TriggerRule
from flowweaver.errors import PlanChanged
from flowweaver.ports import Opening, PlanChange, RunName
from tests.engine.conftest import task
from tests.engine.opening import BROKEN, Watcher, ended, opened


def test_a_task_of_another_version_and_all_below_it_run_again_and_the_others_are_kept(bench):
    opened(bench, task("a"), task("b", "a"), task("c", "b"), task("d", "a"))
    for name in "abcd":
        bench.end(name, outcome=Completed(b'"%s"' % name.encode()))
    bench.take_started()
    watcher = Watcher()
    opening = opened(bench, task("a"), task("b", "a", version="2"), task("c", "b"), task("d", "a"), watcher=watcher)
    change = PlanChange(("a", "d"), ("b", "c"), ())
    assert opening == Opening(2, RunName("w", "r", 2), "resumed", change)
    assert watcher.phases == ["completed", "pending", "pending", "completed"]
    assert bench.take_started() == ["b#1"]
    assert bench.attempts[-1].dependencies["a"].result == b'"a"'
    bench.end("b")
    bench.end("c")
    assert bench.head(2).phase == "completed"
    assert bench.store.read_results(2, [0, 3]) == {0: b'"a"', 3: b'"d"'}
    assert bench.states(2)["a"] == bench.states(1)["a"]
    assert bench.head(1).phase == "completed"


def test_other_dependencies_make_a_task_run_again_and_their_order_does_not(bench):
    opened(bench, task("a"), task("b"), task("c", "a", "b"), task("d", "a"))
    for name in "abcd":
        bench.end(name)
    bench.take_started()
    opening = opened(bench, task("a"), task("b"), task("c", "b", "a"), task("d", "a", "b"))
    assert opening.change == PlanChange(("a", "b", "c"), ("d",), ())
    assert bench.take_started() == ["d#1"]


def test_a_new_task_runs_and_one_that_is_gone_goes(bench):
    opened(bench, task("a"), task("old", "a"))
    bench.end("a")
    bench.end("old")
    bench.take_started()
    opening = opened(bench, task("new"), task("a"), task("last", "a"))
    assert opening.change == PlanChange(("a",), ("new", "last"), ("old",))
    assert sorted(bench.take_started()) == ["last#1", "new#1"]
    assert bench.phases(2) == {"new": "running", "a": "completed", "last": "running"}


def test_a_completed_run_of_which_tasks_were_only_removed_stays_completed(bench):
    opened(bench, task("a"), task("b", "a"), task("c"))
    for name in "abc":
        bench.end(name, outcome=Completed(b'"%s"' % name.encode()))
    bench.take_started()
    watcher = Watcher()
    opening = opened(bench, task("c"), task("a"), watcher=watcher)
    assert (opening.outcome, opening.change) == ("completed", PlanChange(("c", "a"), (), ("b",)))
    assert (watcher.phases, watcher.told) == (["completed", "completed"], ["ended completed"])
    assert bench.store.read_results(opening.key, [0, 1]) == {0: b'"c"', 1: b'"a"'}  # positions of the plan that asks
    bench.open()
    assert (bench.started, bench.conductor.world.runs) == ([], {})


def test_other_policies_are_no_change_and_hold_from_then_on(bench):
    ended(bench)
    opening = opened(
        bench, task("a"), task("b", "a", retry=RetryPolicy(limit=1, delay_seconds=5)), parallelism=1, priority=3
    )
    assert opening == Opening(1, RunName("w", "r", 1), "resumed")
    assert (bench.head().parallelism, bench.head().priority) == (1, 3)
    bench.end("b", outcome=BROKEN)
    assert bench.phases()["b"] == "waiting"


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_whether_a_failure_may_be_is_for_the_plan_to_say_under_which_the_run_ends(bench, before, finished):
    def plan(allowed):
        return RunPlan(tasks=(task("a", allow_failure=allowed), task("b")), failure_policy=FailurePolicy.CONTINUE)

    opened(bench, plan(before))
    bench.end("a", outcome=BROKEN)
    if finished:
        bench.end("b")
        assert bench.head().phase == ("completed" if before else "failed")
    bench.open(recover=False)
    bench.take_started()
    opening = opened(bench, plan(not before))
    assert (opening.outcome, opening.change) == ("resumed", None)
    assert bench.take_started() == (["a#1"] if finished else ["a#1", "b#1"])  # what has failed runs again
    bench.end("a", outcome=BROKEN)
    if not finished:
        bench.end("b")
    assert bench.head(opening.key).phase == ("failed" if before else "completed")


@pytest.mark.parametrize("finished", [False, True])
def test_what_comes_after_a_failure_is_for_the_plan_to_say_under_which_the_run_goes_on(bench, finished):
    def plan(rule):
        tasks = (task("a"), task("b", "a", trigger_rule=rule), task("c", "b"))
        return RunPlan(tasks=tasks, failure_policy=FailurePolicy.CONTINUE, parallelism=1)

    opened(bench, plan(TriggerRule.ALL_FINISHED))
    bench.end("a", outcome=BROKEN)
    if finished:
        bench.end("b")
        bench.end("c")
    bench.open(recover=False)
    bench.take_started()
    key = opened(bench, plan(TriggerRule.ALL_COMPLETED)).key
    assert bench.take_started() == ["a#1"]
    bench.end("a", outcome=BROKEN)
    assert bench.phases(key) == {"a": "failed", "b": "skipped", "c": "skipped"}
    key = opened(bench, plan(TriggerRule.ALL_FINISHED)).key
    bench.end("a", outcome=BROKEN)
    bench.end("b")
    bench.end("c")
    assert bench.phases(key) == {"a": "failed", "b": "completed", "c": "completed"}


def test_where_only_what_a_failure_means_is_another_nothing_that_completed_runs_again(bench):
    opened(bench, task("a"), task("b", "a"))
    bench.end("a", outcome=Completed(b'"a"'))
    bench.end("b", outcome=Completed(b'"b"'))
    bench.take_started()
    opening = opened(bench, task("a", allow_failure=True), task("b", "a", trigger_rule=TriggerRule.ALL_FINISHED))
    assert (opening.outcome, opening.change, bench.take_started()) == ("completed", None, [])
    assert bench.store.read_results(opening.key, [0, 1]) == {0: b'"a"', 1: b'"b"'}
    again = opened(bench, task("a"), task("b", "a"), allow_change=False)
    assert (again.outcome, bench.take_started()) == ("completed", [])


def test_a_change_that_is_not_allowed_changes_nothing(bench):
    ended(bench)
    before = bench.store.read_run(1)
    with pytest.raises(PlanChanged, match=r"1 to run, 1 gone.*begin a fresh run") as caught:
        opened(bench, task("a"), task("c", "a"), allow_change=False)
    assert caught.value.change == PlanChange(("a",), ("c",), ("b",))
    assert (bench.store.read_run(1), [run for run, _, _ in bench.store.list_runs()]) == (before, [1])
    assert opened(bench, task("a"), task("b", "a"), allow_change=False).outcome == "resumed"


def test_an_unfinished_run_with_another_plan_is_replaced_by_one_that_keeps_what_holds(bench):
    opened(bench, task("a"), task("b", "a"), task("c", "b"))
    bench.end("a", outcome=Completed(b"7"))
    bench.open(recover=False)
    bench.take_started()
    opened(bench, task("a"), task("b", "a"), task("other", "b"))
    assert bench.take_started() == ["b#1"]
    assert bench.phases(1) == {"a": "completed", "b": "cancelled", "c": "cancelled"}
    assert (bench.head(1).phase, bench.head(1).reason) == ("cancelled", "Replaced")
    assert bench.attempts[-1].dependencies["a"].result == b"7"


def test_what_came_after_a_failure_all_the_same_is_kept(bench):
    rule = TriggerRule.ALL_FINISHED
    opened(bench, task("a"), task("b", "a", trigger_rule=rule), failure_policy=FailurePolicy.CONTINUE)
    bench.end("a", outcome=BROKEN)
    bench.end("b")
    bench.take_started()
    opened(bench, task("a"), task("b", "a", trigger_rule=rule), task("c"), failure_policy=FailurePolicy.CONTINUE)
    assert bench.take_started() == ["a#1", "c#1"]


def test_what_needs_all_to_be_completed_is_not_kept_beside_a_failure(bench):
    rule = TriggerRule.ALL_FINISHED
    opened(bench, task("a"), task("b", "a", trigger_rule=rule), failure_policy=FailurePolicy.CONTINUE)
    bench.end("a", outcome=BROKEN)
    bench.end("b")
    bench.take_started()
    opening = opened(bench, task("a"), task("b", "a"), task("c"))
    assert opening.change == PlanChange((), ("a", "b", "c"), ())
    assert bench.take_started() == ["a#1", "c#1"]


def test_the_newest_generation_is_the_one_that_counts(bench):
    opened(bench, task("a"))
    bench.end("a")
    opened(bench, task("a"), fresh=True)
    bench.end("a", outcome=BROKEN)
    assert opened(bench, task("a")) == Opening(2, RunName("w", "r", 2), "resumed")
