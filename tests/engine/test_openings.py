"""Which run it is that an opening finds, and what is told to whoever watches it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from flowweaver.core.events import Completed, Failed, InterruptRequested, Shutdown, ShutdownRequested
from flowweaver.core.graph import Graph
from flowweaver.core.invariants import violations
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import FailurePolicy, OnCrash, RetryPolicy, RunPlan, TriggerRule
from flowweaver.core.state import TaskState
from flowweaver.engine.intake import Wish
from flowweaver.errors import GraphError, PlanChanged, WorkflowRunningError
from flowweaver.ports import Opening, PlanChange, RunName, RunRequest
from tests.engine.conftest import Bench, task

BROKEN = Failed(message="it broke", error_type="ValueError")


@dataclass
class Watcher:
    """Writes down all that it is told."""

    wants_notices: bool = False
    opening: Opening | None = None
    phases: list[str] = field(default_factory=list)  # at the opening
    results: dict[int, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    started_before: list[str] = field(default_factory=list)
    bench: Bench | None = None

    def observe(self, run, opening):
        self.opening = opening
        self.phases = [str(state.phase) for state in run.tasks]
        self.started_before = list(self.bench.started) if self.bench else []
        return self

    def recorded(self, results):
        self.results.update({result.task: result.result for result in results})
        self.told.append("recorded")

    def changed(self, notices):
        self.told.extend(f"{notice.task}: {notice.state.phase}" for notice in notices if hasattr(notice, "task"))

    def troubled(self, notices):
        self.told.extend(f"{it.task} in trouble: {it.state.phase} {it.state.error_type}".strip() for it in notices)

    def ended(self, run):
        self.told.append(f"ended {run.head.phase}")

    def broke(self, why):
        self.told.append(f"broke: {why}")


def asked(bench, *tasks, watcher=None, run_id="r", graph=None, fresh=False, given=None, allow_change=True, **fields):
    watcher = watcher or Watcher(bench=bench)
    plan = tasks[0] if tasks and isinstance(tasks[0], RunPlan) else RunPlan(tasks=tasks, **fields)
    request = RunRequest(
        workflow="w",
        run_id=run_id,
        plan=plan,
        observe=watcher.observe,
        graph=graph,
        fresh=fresh,
        given=given or {},
        allow_change=allow_change,
    )
    return Wish(request, Future())


def opened(bench, *tasks, **fields):
    """Open a run, and let what follows happen."""
    wish = asked(bench, *tasks, **fields)
    bench.conductor.intake.take([wish])
    opening = wish.answer.result(0)
    bench.turn()
    assert violations(bench.conductor.world) == []
    return opening


def ended(bench):
    """A run of which `a` completed and `b`, which depends on it, did not."""
    opened(bench, task("a"), task("b", "a"))
    bench.end("a", outcome=Completed(b'"kept"'))
    bench.end("b", outcome=BROKEN)
    assert bench.head().phase == "failed"
    bench.take_started()


# ------------------------------------------------------------------------------------------------------ which run it is


def test_a_run_that_is_not_there_is_created(bench):
    watcher = Watcher(bench=bench)
    opening = opened(bench, task("a"), task("b", "a"), watcher=watcher)
    assert opening == watcher.opening == Opening(1, RunName("w", "r", 1), "created")
    assert watcher.phases == ["pending", "pending"]
    assert watcher.started_before == []
    assert bench.started == ["a#1"]


def test_a_run_that_is_active_is_not_opened_again(bench):
    opened(bench, task("a"))
    with pytest.raises(WorkflowRunningError, match='workflow "w", run "r", is running'):
        opened(bench, task("a"))
    with pytest.raises(WorkflowRunningError):
        opened(bench, task("a"), fresh=True)
    assert opened(bench, task("a"), run_id="other").outcome == "created"


def test_a_run_that_is_opened_twice_at_once_is_opened_once(bench):
    wishes = [asked(bench, task("a")) for _ in range(2)]
    bench.conductor.intake.take(wishes)
    bench.turn()
    assert wishes[0].answer.result(0).outcome == "created"
    assert isinstance(wishes[1].answer.exception(0), WorkflowRunningError)
    assert bench.started == ["a#1"]


def test_a_completed_run_is_not_run_again(bench):
    opened(bench, task("a"))
    bench.end("a", outcome=Completed(b"7"))
    bench.take_started()
    watcher = Watcher()
    assert opened(bench, task("a"), watcher=watcher) == Opening(1, RunName("w", "r", 1), "completed")
    assert (bench.started, watcher.phases, watcher.told) == ([], ["completed"], ["ended completed"])


def test_a_run_that_a_crash_left_is_gone_on_with(bench):
    opened(bench, task("a"), task("b", "a"))
    bench.end("a", outcome=Completed(b"7"))
    bench.open(recover=False)
    bench.take_started()
    bench.turn()
    assert bench.take_started() == []  # nobody has asked for it yet
    assert opened(bench, task("a"), task("b", "a")) == Opening(1, RunName("w", "r", 1), "resumed")
    assert bench.take_started() == ["b#2"]
    assert bench.states()["b"].crashes == 1
    assert bench.attempts[-1].dependencies["a"].result == b"7"
    bench.end("b")
    assert bench.head().phase == "completed"


def test_what_must_not_be_repeated_after_a_crash_fails_once_and_runs_when_it_is_opened_again(bench):
    plan = RunPlan(tasks=(task("a", on_crash=OnCrash.FAIL), task("b", "a")))
    opened(bench, plan)
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, plan).outcome == "resumed"
    assert (bench.reasons()["a"], bench.take_started()) == ("Interrupted", [])
    assert opened(bench, plan).outcome == "resumed"
    assert bench.take_started() == ["a#2"]


def test_a_failed_run_is_taken_up_where_it_did_not_complete(bench):
    ended(bench)
    assert opened(bench, task("a"), task("b", "a")) == Opening(1, RunName("w", "r", 1), "resumed")
    assert bench.take_started() == ["b#2"]
    assert bench.attempts[-1].dependencies["a"].result == b'"kept"'
    bench.end("b", outcome=BROKEN)
    assert opened(bench, task("a"), task("b", "a")).outcome == "resumed"  # and again, with a token of its own
    assert bench.take_started() == ["b#3"]
    bench.end("b")
    assert bench.head().phase == "completed"


def test_a_cancelled_run_is_taken_up_too(bench):
    key = opened(bench, task("a"), task("b")).key
    bench.end("a")
    bench.turn(ShutdownRequested(key, Shutdown.TERMINATE))
    bench.executor.abandoned.clear()
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, task("a"), task("b")).outcome == "resumed"
    assert bench.take_started() == ["b#2"]


@pytest.mark.parametrize("mode", [Shutdown.STOP, None])
def test_a_crash_while_a_run_was_ending_early_does_not_end_it_when_it_is_opened_again(bench, mode):
    plan = RunPlan(tasks=(task("a"), task("b"), task("c", "b")))
    key = opened(bench, plan).key
    if mode is None:
        bench.end("a", outcome=BROKEN)
    else:
        bench.turn(ShutdownRequested(key, mode))
    assert bench.phases()["c"] == "cancelled"
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, plan).outcome == "resumed"
    assert sorted(bench.take_started()) == ["a#2", "b#2"]
    bench.end("a", "b")
    bench.end("c")
    assert bench.head().phase == "completed"


def test_an_engine_that_ends_while_a_run_is_opened_gives_up_no_attempt_of_the_process_before(bench):
    opened(bench, task("a"))
    bench.open(recover=False)
    wish = asked(bench, task("a"))
    bench.conductor.intake.take([wish])
    bench.turn(InterruptRequested())
    assert (wish.answer.result(0).outcome, bench.executor.abandoned) == ("resumed", {})
    assert (bench.phases()["a"], bench.states()["a"].crashes) == ("pending", 1)


def test_a_run_that_is_to_end_as_soon_as_it_is_opened_ends(bench):
    ended(bench)
    bench.conductor.intake.take([asked(bench, task("a"), task("b", "a"))])
    bench.turn(ShutdownRequested(1, Shutdown.STOP))
    assert (bench.head().phase, bench.take_started()) == ("cancelled", [])


def test_the_timeout_of_a_run_counts_anew_when_it_is_gone_on_with(bench):
    plan = RunPlan(tasks=(task("a"),), timeout_seconds=30)
    opened(bench, plan)
    bench.open(recover=False)
    bench.pass_time(3600)
    opened(bench, plan)
    bench.pass_time(29)
    assert bench.phases()["a"] == "running"
    bench.pass_time(1)
    assert bench.head().reason == "WorkflowTimeout"


def test_a_fresh_run_begins_anew_and_the_one_before_is_replaced(bench):
    opened(bench, task("a"), task("b", "a"))
    bench.end("a")
    bench.open(recover=False)
    bench.take_started()
    assert opened(bench, task("a"), task("b", "a"), fresh=True) == Opening(2, RunName("w", "r", 2), "created")
    assert bench.take_started() == ["a#1"]
    assert bench.phases(1) == {"a": "completed", "b": "cancelled"}
    assert (bench.head(1).phase, bench.head(1).reason) == ("cancelled", "Replaced")
    bench.open()  # as the operator does it: only the new one is left
    assert list(bench.conductor.world.runs) == [2]


def test_a_fresh_run_takes_nothing_that_is_given_where_there_was_one_before(bench):
    given = {0: (TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0), b"1")}
    opened(bench, task("a"), task("b", "a"))
    bench.open(recover=False)
    bench.take_started()
    opened(bench, task("a"), task("b", "a"), fresh=True, given=given)
    assert bench.take_started() == ["a#1"]


def test_what_is_given_to_a_new_run_counts_as_completed(bench):
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
    watcher = Watcher()
    opened(bench, task("a"), task("b", "a"), given={0: (state, b'"given"')}, watcher=watcher)
    assert (watcher.phases, bench.started) == (["completed", "pending"], ["b#1"])
    assert bench.attempts[-1].dependencies["a"].result == b'"given"'
    assert bench.states()["a"] == state


def test_a_run_to_which_everything_is_given_is_over(bench):
    state = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0)
    watcher = Watcher()
    assert opened(bench, task("a"), given={0: (state, b"1")}, watcher=watcher).outcome == "created"
    assert (bench.head().phase, watcher.told, bench.started) == ("completed", ["ended completed"], [])


def test_a_run_without_tasks_is_over_at_once(bench):
    watcher = Watcher()
    opened(bench, watcher=watcher)
    assert (bench.head().phase, watcher.told) == ("completed", ["ended completed"])
    assert opened(bench).outcome == "completed"


def test_a_plan_that_is_no_dag_leaves_nothing_behind(bench):
    with pytest.raises(GraphError):
        opened(bench, task("a", "b"), task("b", "a"))
    assert list(bench.store.list_runs()) == []


def test_a_graph_that_is_there_is_not_made_again(bench, monkeypatch):
    monkeypatch.setattr(RunPlan, "graph", lambda _: pytest.fail("the graph was made again"))
    opened(bench, task("a"), task("b", "a"), graph=Graph.ordered(["a", "b"], [(), (0,)]))
    bench.end("a")
    bench.end("b")
    assert bench.head().phase == "completed"


# ------------------------------------------------------------------------------------------------------- a changed plan


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


# ----------------------------------------------------------------------------------------------------- what is told


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
