"""What is done about a Workflow, decided without a cluster."""

from __future__ import annotations

import pytest

from flowweaver.core.events import RerunRequested, SettingsRequested, Shutdown, ShutdownRequested
from flowweaver.core.phases import RunPhase
from flowweaver.core.records import replace
from flowweaver.operator import actions
from flowweaver.operator.actions import (
    AnswerRerun,
    Ask,
    Claim,
    Delete,
    Forget,
    LookAgain,
    Release,
    ReportHistory,
    ReportLoss,
    ReportRefusal,
    ReportRun,
    Submit,
    Validate,
    Withdraw,
)
from flowweaver.operator.objects import Reported, Wishes
from flowweaver.operator.planning import plan
from flowweaver.operator.world import Owner
from flowweaver.ports import StorePosition
from tests.operator.worlds import PROBLEM, REJECTED, STORE, accepted, held, reported, run, unseen, world

OTHER = StorePosition("theirs", 9, 900)
LOST_HERE = reported(store=OTHER)
AHEAD = reported(store=replace(STORE, sequence=500))
TERMINATE = Ask(ShutdownRequested(1, Shutdown.TERMINATE))


def kinds(planned: tuple[actions.Action, ...]) -> list[type]:
    return [type(action) for action in planned]


# ------------------------------------------------------------------------------------------------------- the beginning


def test_an_unseen_workflow_is_validated_before_anything_else_is_said_of_it():
    assert plan(world(unseen())) == (Validate(),)


def test_an_accepted_workflow_is_claimed_before_it_is_submitted():
    planned = plan(world(unseen(), verdict=accepted()))
    assert kinds(planned) == [Claim, Submit, ReportRun, actions.Post]
    assert planned[1] == Submit(accepted().plan)


def test_the_token_that_a_workflow_is_created_with_is_answered_by_its_first_run():
    planned = plan(world(unseen(wishes=Wishes(rerun="one")), verdict=accepted()))
    assert planned[1] == Submit(accepted().plan, "one")


def test_a_workflow_that_is_created_stopped_is_submitted_so_that_it_starts_nothing():
    planned = plan(world(unseen(wishes=Wishes(shutdown="Stop")), verdict=accepted()))
    assert planned[1] == Submit(replace(accepted().plan, suspended=True))
    assert planned[-1] == LookAgain(0.0)


def test_a_refused_workflow_says_why_once_and_is_not_claimed():
    planned = plan(world(unseen(), verdict=REJECTED))
    assert kinds(planned) == [ReportRefusal, actions.Post]
    assert planned[0] == ReportRefusal((PROBLEM,))
    seen = reported("Failed", accepted=False, started=False, store=None)
    assert plan(world(unseen(reported=seen), verdict=REJECTED)) == ()


def test_a_refused_workflow_that_was_edited_is_validated_again():
    seen = reported("Failed", accepted=False, started=False, store=None)
    assert plan(world(unseen(generation=2, reported=seen))) == (Validate(),)


def test_another_instance_s_workflow_is_left_alone():
    assert plan(world(unseen(instance="elsewhere"), verdict=accepted())) == ()


# ------------------------------------------------------------------------------------------------------------ under way


def test_a_running_workflow_whose_status_is_true_needs_nothing():
    assert plan(world(held(reported=reported()), run=run())) == ()


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (Reported(), "nothing was reported"),
        (reported("Pending"), "the phase is another one"),
        (reported(observed_generation=0), "an edit was not observed"),
        (reported(store=replace(STORE, epoch=2)), "it is of an earlier life"),
        (reported(store=OTHER), "it is of another store"),
        (reported(stalled="StateLost"), "somebody else took it for lost"),
    ],
)
def test_a_status_that_is_not_true_is_written(shown, why):
    assert plan(world(held(reported=shown), run=run())) == (ReportRun(),), why


def test_a_run_without_our_mark_is_claimed():
    assert plan(world(unseen(reported=reported()), run=run())) == (Claim(),)


def test_what_may_change_is_passed_on_as_one_request():
    wishes = Wishes(suspend=True, priority=5, parallelism=2)
    planned = plan(world(held(wishes=wishes, reported=reported()), run=run()))
    assert planned == (Ask(SettingsRequested(1, suspended=True, priority=5, parallelism=2)),)


def test_a_parallelism_that_was_taken_out_is_cleared():
    planned = plan(world(held(reported=reported()), run=run(parallelism=3)))
    assert planned == (Ask(SettingsRequested(1, parallelism=None, clear_parallelism=True)),)


@pytest.mark.parametrize(
    ("wished", "there", "asked"),
    [
        ("Stop", None, Shutdown.STOP),
        ("Terminate", Shutdown.STOP, Shutdown.TERMINATE),
        ("Stop", Shutdown.STOP, None),
        ("Stop", Shutdown.TERMINATE, None),
    ],
)
def test_a_shutdown_is_asked_for_once_and_never_weakened(wished, there, asked):
    planned = plan(world(held(wishes=Wishes(shutdown=wished), reported=reported()), run=run(shutdown=there)))
    assert planned == ((Ask(ShutdownRequested(1, asked)),) if asked else ())


def test_the_shutdown_that_ended_a_run_does_not_end_its_rerun():
    again = run(rerun_token="one")
    shown = reported(observed_rerun="one")
    workflow = held(wishes=Wishes(shutdown="Stop", rerun="one"), reported=shown)
    assert plan(world(workflow, run=again, spent_shutdown="Stop")) == ()
    assert plan(world(workflow, run=again, spent_shutdown="")) == (Ask(ShutdownRequested(1, Shutdown.STOP)),)


def test_an_edit_before_the_beginning_takes_the_place_of_what_was_pinned():
    waiting = run(RunPhase.SUSPENDED, started_at=None, suspended=True)
    shown = reported("Suspended", started=False)
    edited = held(generation=2, wishes=Wishes(suspend=True), reported=shown)
    pinned = replace(accepted().plan, suspended=True, priority=9)
    assert plan(world(edited, run=waiting, pinned=pinned)) == (Validate(),)
    same = plan(world(edited, run=waiting, pinned=pinned, verdict=accepted()))
    assert same == (ReportRun(),)
    other = replace(pinned, params={"rows": 1})
    assert plan(world(edited, run=waiting, pinned=other, verdict=accepted())) == (Withdraw(1),)
    assert plan(world(edited, run=waiting, pinned=other, verdict=REJECTED)) == (Withdraw(1),)


def test_what_has_begun_is_not_withdrawn_by_an_edit():
    edited = held(generation=2, reported=reported())
    assert plan(world(edited, run=run(), verdict=REJECTED)) == (ReportRun(),)


def test_a_withdrawn_run_makes_room_for_the_next_even_after_a_crash():
    ended = run(RunPhase.CANCELLED, started_at=None)
    edited = held(generation=2, reported=reported("Suspended", started=False))
    assert plan(world(edited, run=ended)) == (Forget(1), LookAgain(0.0))
    assert plan(world(edited, verdict=accepted()))[0] == Claim()


def test_a_run_that_was_stopped_before_it_began_stays_stopped():
    ended = run(RunPhase.CANCELLED, started_at=None)
    stopped = held(wishes=Wishes(shutdown="Stop"), reported=reported("Pending", started=False))
    assert plan(world(stopped, run=ended)) == (ReportRun(),)


# -------------------------------------------------------------------------------------------------------------- the end


def test_a_finished_workflow_is_let_go_once_its_status_says_so():
    done = run(RunPhase.COMPLETED)
    assert plan(world(held(reported=reported("Running")), run=done)) == (ReportRun(),)
    assert plan(world(held(reported=reported("Completed")), run=done)) == (Release(),)
    assert plan(world(unseen(reported=reported("Completed")), run=done)) == ()


def test_the_picture_of_a_finished_run_does_not_age():
    shown = reported("Completed", store=replace(STORE, epoch=1))
    assert plan(world(unseen(reported=shown), run=run(RunPhase.COMPLETED))) == ()


def test_an_edit_of_a_finished_workflow_is_observed():
    assert plan(world(unseen(generation=2, reported=reported("Completed")), run=run(RunPhase.COMPLETED))) == (
        ReportRun(),
    )


def test_a_new_token_runs_a_failed_workflow_again_under_our_mark():
    workflow = unseen(wishes=Wishes(rerun="one"), reported=reported("Failed"))
    planned = plan(world(workflow, run=run(RunPhase.FAILED)))
    assert planned == (Claim(), Ask(RerunRequested(1, "one")), ReportRun())


def test_a_token_is_answered_once():
    workflow = unseen(wishes=Wishes(rerun="one"), reported=reported("Failed", observed_rerun="one"))
    assert plan(world(workflow, run=run(RunPhase.FAILED, rerun_token="one"))) == ()


def test_a_finished_workflow_is_deleted_at_its_time_and_not_before():
    early = held(wishes=Wishes(ttl_seconds=60), reported=reported("Completed"))
    done = run(RunPhase.COMPLETED)
    assert plan(world(early, run=done)) == (Release(), LookAgain(10.0))
    assert plan(world(early, run=done, now=110.0)) == (Release(), Delete())


# ------------------------------------------------------------------------------------------------------------- deletion


def test_deleting_terminates_first_and_lets_go_when_the_run_has_finished():
    leaving = held(deleting=True, reported=reported())
    assert plan(world(leaving, run=run())) == (TERMINATE,)
    assert plan(world(leaving, run=run(shutdown=Shutdown.TERMINATE))) == ()
    assert plan(world(leaving, run=run(RunPhase.CANCELLED))) == (Release(),)
    assert plan(world(leaving)) == (Release(),)


def test_a_workflow_that_is_being_deleted_is_never_started():
    assert plan(world(unseen(deleting=True), verdict=accepted())) == ()


def test_runs_of_objects_that_are_gone_are_stopped_and_then_forgotten():
    assert plan(world(None, strays=(run(),))) == (TERMINATE,)
    assert plan(world(None, strays=(run(RunPhase.CANCELLED),))) == (Forget(1),)


def test_the_run_of_an_earlier_object_of_that_name_is_no_business_of_the_new_one():
    planned = plan(world(unseen(), strays=(run(),), verdict=accepted()))
    assert kinds(planned) == [Ask, Claim, Submit, ReportRun, actions.Post]


# ------------------------------------------------------------------------------------------ lost, older, other people's


def test_what_began_on_another_volume_is_reported_as_lost_and_not_started():
    lost = held(claimed_by="theirs", reported=LOST_HERE)
    planned = plan(world(lost, owner=Owner.DEAD, verdict=accepted()))
    assert kinds(planned) == [ReportLoss, actions.Post, Release]
    told = unseen(claimed_by="theirs", reported=replace(LOST_HERE, stalled="StateLost"))
    assert plan(world(told, owner=Owner.DEAD, verdict=accepted())) == ()


def test_what_our_own_volume_does_not_know_is_lost_too():
    assert kinds(plan(world(unseen(reported=reported()), verdict=accepted()))) == [ReportLoss, actions.Post]


def test_what_another_volume_accepted_and_nobody_reported_on_is_lost_too():
    assert kinds(plan(world(unseen(claimed_by="theirs"), owner=Owner.DEAD, verdict=accepted())))[0] is ReportLoss


def test_what_another_volume_accepted_and_had_not_begun_is_started():
    waiting = unseen(claimed_by="theirs", reported=Reported(phase="Pending", observed_generation=1, store=OTHER))
    assert kinds(plan(world(waiting, owner=Owner.DEAD, verdict=accepted())))[:2] == [Claim, Submit]


def test_a_lost_workflow_runs_anew_for_a_new_token_or_an_administrator_who_adopts_it():
    lost = unseen(claimed_by="theirs", reported=replace(LOST_HERE, stalled="StateLost"))
    asked = replace(lost, wishes=Wishes(rerun="one"))
    assert kinds(plan(world(asked, owner=Owner.DEAD, verdict=accepted())))[:2] == [Claim, Submit]
    assert kinds(plan(world(lost, owner=Owner.DEAD, adopt=True, verdict=accepted())))[:2] == [Claim, Submit]


@pytest.mark.parametrize("phase", ["Completed", "Failed", "Cancelled"])
def test_what_has_finished_elsewhere_is_history(phase):
    old = unseen(claimed_by="theirs", reported=reported(phase, store=OTHER))
    for adopt in (False, True):
        assert plan(world(old, owner=Owner.DEAD, adopt=adopt, verdict=accepted())) == ()


def test_an_edit_of_history_is_observed_and_runs_nothing():
    old = unseen(generation=2, reported=reported("Failed", store=OTHER))
    assert plan(world(old, verdict=accepted())) == (ReportHistory(),)


def test_a_token_on_history_runs_what_had_failed_and_not_what_had_completed():
    failed = unseen(wishes=Wishes(rerun="one"), reported=reported("Failed", store=OTHER))
    assert kinds(plan(world(failed, verdict=accepted())))[:2] == [Claim, Submit]
    completed = unseen(wishes=Wishes(rerun="one"), reported=reported("Completed", store=OTHER))
    assert plan(world(completed, verdict=accepted())) == (AnswerRerun("one"), ReportHistory())


def test_what_an_engine_that_lives_has_accepted_is_left_alone():
    theirs = held(claimed_by="theirs", reported=LOST_HERE)
    for changed in ({}, {"deleting": True}, {"wishes": Wishes(rerun="one")}):
        planned = plan(world(replace(theirs, **changed), owner=Owner.ALIVE, adopt=True, verdict=accepted()))
        assert kinds(planned) == [actions.Post]


def test_nothing_is_decided_while_it_can_not_be_told_whether_the_other_engine_lives():
    theirs = unseen(claimed_by="theirs", reported=LOST_HERE)
    planned = plan(world(theirs, owner=Owner.UNSURE, owner_grace_left=4.0, adopt=True, verdict=accepted()))
    assert planned == (LookAgain(4.0),)


def test_an_older_volume_holds_its_run_back_and_says_so():
    planned = plan(world(held(reported=AHEAD), run=run()))
    assert planned[0] == Ask(SettingsRequested(1, suspended=True))
    assert kinds(planned[1:]) == [ReportLoss, actions.Post]


def test_a_run_that_is_held_back_stays_so_when_the_store_has_caught_up():
    told = held(reported=reported("Suspended", stalled="StateLost", store=replace(STORE, sequence=50)))
    assert plan(world(told, run=run(RunPhase.SUSPENDED, suspended=True))) == ()
    edited = replace(told, generation=2)
    assert kinds(plan(world(edited, run=run(RunPhase.SUSPENDED, suspended=True)))) == [ReportLoss, actions.Post]


def test_a_run_that_is_held_back_goes_on_for_a_new_token_or_an_administrator_who_adopts_it():
    told = held(reported=replace(AHEAD, phase="Suspended", stalled="StateLost"))
    suspended = run(RunPhase.SUSPENDED, suspended=True)
    resume = Ask(SettingsRequested(1, suspended=False))
    asked = replace(told, wishes=Wishes(rerun="one"))
    assert plan(world(asked, run=suspended)) == (resume, AnswerRerun("one"), ReportRun())
    assert plan(world(told, run=suspended, adopt=True)) == (resume, ReportRun())


def test_what_an_older_volume_knows_of_a_finished_workflow_is_forgotten_and_never_reported():
    done = replace(AHEAD, phase="Completed", finished_at=50.0)
    assert plan(world(held(reported=done), run=run())) == (TERMINATE, LookAgain(1.0))
    assert plan(world(held(reported=done), run=run(RunPhase.CANCELLED))) == (Forget(1),)
