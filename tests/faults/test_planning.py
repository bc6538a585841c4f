"""What is decided about a Workflow whose run is damaged, held back, or of a lost volume."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.state import TaskState
from flowweaver.operator import actions
from flowweaver.operator.actions import AnswerRerun, Claim, Forget, LookAgain, Release, ReportLoss, Submit, Validate
from flowweaver.operator.objects import Wishes
from flowweaver.operator.planning import plan
from flowweaver.operator.remains import Remains
from flowweaver.operator.world import Owner
from flowweaver.ports import StorePosition
from tests.operator.worlds import STORE, accepted, held, reported, run, unseen, world

LOST = unseen(claimed_by="theirs", reported=reported(store=StorePosition("theirs", 9, 900)))
GIVEN = {0: (TaskState(phase=TaskPhase.COMPLETED), b"null")}
KEPT = Remains(given=GIVEN, tasks=2)
REPEATED = Remains(again=("load",), tasks=2)


def kinds(planned):
    return [type(action) for action in planned]


def test_a_damaged_run_is_held_and_reported_once():
    spoiled = replace(run(), damaged="its plan can not be read")
    first, post = plan(world(held(reported=reported()), run=spoiled))
    assert "its plan can not be read" in first.message
    assert post.reason == "StateLost"
    assert plan(world(held(reported=reported(stalled="StateLost")), run=spoiled)) == ()


def test_a_damaged_run_that_has_finished_is_history():
    done = replace(run(RunPhase.COMPLETED), damaged="its plan can not be read")
    assert ReportLoss not in kinds(plan(world(held(reported=reported("Completed")), run=done)))


def test_a_damaged_run_makes_way_when_it_is_asked_for_again_or_deleted_or_its_workflow_is_gone():
    spoiled = replace(run(), damaged="no plan")
    asked = held(reported=reported(stalled="StateLost"), wishes=Wishes(rerun="again"))
    assert plan(world(asked, run=spoiled)) == (Forget(1), LookAgain(0.0))
    assert plan(world(held(reported=reported()), run=spoiled, adopt=True)) == (Forget(1), LookAgain(0.0))
    assert plan(world(held(deleting=True), run=spoiled)) == (Forget(1), Release())
    assert plan(world(None, strays=(spoiled,))) == (Forget(1),)


def test_a_run_that_was_held_back_at_the_start_is_reported_also_where_that_was_the_one_commit_that_was_missing():
    level = held(reported=reported(store=replace(STORE, sequence=STORE.sequence)))
    suspended = replace(run(RunPhase.SUSPENDED, suspended=True), held_back=True)
    assert kinds(plan(world(level, run=suspended))) == [ReportLoss, actions.Post]


def test_what_is_lost_is_looked_at_before_it_is_reported_so_that_the_report_says_what_is_left():
    assert plan(world(LOST, owner=Owner.DEAD)) == (Validate(),)
    report, _ = plan(world(LOST, owner=Owner.DEAD, verdict=accepted(), remains=KEPT))
    assert "of 2 tasks 1 are known to have completed, and are kept" in report.message


@pytest.mark.parametrize("how", [{"adopt": True}, {"rerun": "go on"}])
def test_what_has_completed_is_given_to_the_run_that_goes_on(how):
    asked = replace(LOST, wishes=Wishes(rerun=how.get("rerun", "")))
    found = world(asked, owner=Owner.DEAD, adopt=how.get("adopt", False), verdict=accepted(), remains=KEPT)
    claim, submit, _, post = plan(found)
    assert (type(claim), submit.given, post.reason) == (Claim, GIVEN, "StateRebuilt")
    assert "Results, attempts, and what ended after that status was written, are lost" in post.note
    anew = replace(found, workflow=replace(asked, recover="Restart"))
    assert plan(anew)[1] == Submit(accepted().plan, how.get("rerun", ""))


def test_what_would_repeat_a_completed_task_is_left_alone_where_its_user_says_so():
    asked = replace(LOST, wishes=Wishes(rerun="go on"), recover="Strict")
    found = world(asked, owner=Owner.DEAD, verdict=accepted(), remains=REPEATED)
    answer, report, _ = plan(found)
    assert answer == AnswerRerun("go on")
    assert "forbids to run again what has completed" in report.message
    assert "load" in report.message
    assert Submit in kinds(plan(replace(found, remains=KEPT)))
    assert Submit in kinds(plan(replace(found, workflow=replace(asked, recover="Rebuild"))))
