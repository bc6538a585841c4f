"""What to do about one Workflow: an ordered chain of checks, each named by the fact that it finds.

Pure. The first check that recognises the situation decides; `plan` may be called again at any moment with a newer
picture, and asks for nothing that has been done already. Nothing here starts a run that may have run before: state that
was lost, or that another store holds, is reported and left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowweaver.core.events import RerunRequested, SettingsRequested, Shutdown, ShutdownRequested
from flowweaver.core.phases import RunPhase
from flowweaver.core.plan import RunPlan
from flowweaver.core.records import replace
from flowweaver.manifest import Rejected
from flowweaver.operator.actions import (
    Action,
    AnswerRerun,
    Ask,
    Claim,
    Delete,
    EventType,
    Forget,
    LookAgain,
    Post,
    Release,
    ReportHistory,
    ReportRefusal,
    ReportRun,
    Submit,
    Validate,
    Withdraw,
)
from flowweaver.operator.adopting import (
    Actions,
    run_is_damaged,
    state_is_lost,
    status_is_ahead,
    stop,
    unseen_edit,
    would_repeat_what_must_not_be,
)
from flowweaver.operator.conditions import PHASES, Standing
from flowweaver.operator.live_stores import owner_of
from flowweaver.operator.losses import rebuilt
from flowweaver.operator.names import ACCEPTED, CLAIMED_ELSEWHERE, STATE_LOST, STATE_REBUILT
from flowweaver.operator.objects import Reported, WorkflowObject
from flowweaver.operator.remains import Recovery
from flowweaver.operator.status import refusal
from flowweaver.operator.world import KnownRun, Owner, World
from flowweaver.ports import Given

Check = Callable[[World, WorkflowObject], Actions | None]
"""Gives what to do, or None where it does not apply."""


def plan(world: World) -> Actions:
    """All that is to be done now, in this order."""
    strays = tuple(action for run in world.strays for action in _end_stray(run))
    workflow = world.workflow
    if workflow is None:
        return strays
    for check in CHAIN:
        actions = check(world, workflow)
        if actions is not None:
            return strays + actions
    raise AssertionError("the last check of the chain always decides")


def is_for_another_instance(world: World, workflow: WorkflowObject) -> Actions | None:
    """Somebody else's label. What has begun here ends here, though."""
    return () if workflow.instance != world.instance and world.run is None else None


def another_engine_has_it(world: World, workflow: WorkflowObject) -> Actions | None:
    """A store that is alive has accepted it: two engines must not run it."""
    if world.owner is not Owner.ALIVE:
        return None
    note = f"left alone: the store {owner_of(workflow)} has accepted this Workflow and is at work"
    posts: Actions = () if workflow.reported.finished else (Post(EventType.WARNING, CLAIMED_ELSEWHERE, note),)
    return (*stop(world.run), *posts)


def another_engine_may_have_it(world: World, workflow: WorkflowObject) -> Actions | None:
    """Another store has accepted it, and it is too early to say that it is gone."""
    if world.owner is not Owner.UNSURE or world.run is not None or workflow.reported.finished:
        return None
    return (LookAgain(world.owner_grace_left),)


def is_being_deleted(world: World, workflow: WorkflowObject) -> Actions | None:
    """Deleting cancels, then lets go."""
    if not workflow.deleting:
        return None
    if world.run is not None and not world.run.head.phase.finished:
        return (*stop(world.run), *_report_if_stale(world, workflow, world.run))
    return (Release(),) if workflow.held else ()


def was_withdrawn(world: World, workflow: WorkflowObject) -> Actions | None:
    """A run that never began has ended, and nobody has asked for it but `was_edited_before_it_began`: make room."""
    run = world.run
    if run is None or run.head.phase is not RunPhase.CANCELLED or run.head.started_at is not None:
        return None
    if workflow.wishes.shutdown or workflow.reported.finished:
        return None
    return (Forget(run.key), LookAgain(0.0))


def was_edited_before_it_began(world: World, workflow: WorkflowObject) -> Actions | None:
    """What is pinned in the store is not what the user wants any more, and nothing of it has run."""
    run = world.run
    if run is None or run.head.phase.finished or run.head.started_at is not None or not unseen_edit(workflow):
        return None
    if workflow.reported.observed_generation < 0:  # its first status has not been seen yet
        return None
    if world.verdict is None:
        return (Validate(),)
    wanted = None if isinstance(world.verdict, Rejected) else world.verdict.plan
    return None if wanted is not None and _is_same_work(wanted, world.pinned) else (Withdraw(run.key),)


def run_is_under_way(world: World, workflow: WorkflowObject) -> Actions | None:
    """Pass on what may change; keep the status true."""
    run = world.run
    if run is None or run.head.phase.finished:
        return None
    actions: list[Action] = []
    if not workflow.held or workflow.claimed_by != world.store.id:
        actions.append(Claim())
    actions += _wishes(world, workflow, run)
    if workflow.reported.stalled == STATE_LOST and world.rerun_wanted:
        actions.append(AnswerRerun(world.rerun_wanted))  # going on is the answer
    return (*actions, *_report_if_stale(world, workflow, run))


def run_has_finished(world: World, workflow: WorkflowObject) -> Actions | None:
    """Run it again if asked to; else let go of it, and of the object when its time has come."""
    run = world.run
    if run is None:
        return None
    if world.rerun_wanted:
        claims: Actions = () if workflow.held or run.head.phase == "completed" else (Claim(),)
        return (*claims, Ask(RerunRequested(run.key, world.rerun_wanted)), ReportRun())
    releases: Actions = (Release(),) if workflow.held and workflow.reported.finished else ()
    return (*_report_if_stale(world, workflow, run), *releases, *_time_to_live(world, workflow))


def is_history(world: World, workflow: WorkflowObject) -> Actions | None:
    """It has finished, and our store knows nothing of it: it never runs again by itself."""
    reported = workflow.reported
    if not reported.finished or (reported.accepted is False and not reported.started):
        return None
    answers: Actions = ()
    if world.rerun_wanted:
        if reported.phase != "Completed":
            return None
        answers = (AnswerRerun(world.rerun_wanted), ReportHistory())
    elif unseen_edit(workflow):
        answers = (ReportHistory(),)
    releases: Actions = (Release(),) if workflow.held else ()
    return (*answers, *releases, *_time_to_live(world, workflow))


def was_refused_as_it_stands(world: World, workflow: WorkflowObject) -> Actions | None:
    """Nobody has edited it since it was refused."""
    reported = workflow.reported
    if reported.accepted is not False or unseen_edit(workflow):
        return None
    releases: Actions = (Release(),) if workflow.held else ()
    return (*releases, *_time_to_live(world, workflow))


def nobody_has_looked_at_the_spec(world: World, workflow: WorkflowObject) -> Actions | None:
    """Validation comes after everything that can be said without it."""
    del workflow
    return (Validate(),) if world.verdict is None else None


def can_not_run(world: World, workflow: WorkflowObject) -> Actions | None:
    """The spec has problems."""
    verdict = world.verdict
    if not isinstance(verdict, Rejected):
        return None
    releases: Actions = (Release(),) if workflow.held else ()
    note = refusal(verdict.problems)
    answers: Actions = (AnswerRerun(world.rerun_wanted),) if world.rerun_wanted else ()
    post = Post(EventType.WARNING, verdict.problems[0].reason, note)
    return (*answers, ReportRefusal(verdict.problems), post, *releases)


def is_new(world: World, workflow: WorkflowObject) -> Actions:
    """Start it; of one whose state is lost what has not completed."""
    verdict = world.verdict
    assert verdict is not None
    assert not isinstance(verdict, Rejected)
    run = verdict.plan
    given: Given = {}
    if world.remains is not None and workflow.recover != Recovery.RESTART:
        given = world.remains.given
    again: Actions = ()
    if workflow.wishes.shutdown:  # ended before it began: it must not start a task in between
        run = replace(run, suspended=True)
        again = (LookAgain(0.0),)
    count = sum(not task.internal for task in run.tasks)
    post = Post(EventType.NORMAL, ACCEPTED, f"accepted with {count} {'task' if count == 1 else 'tasks'}")
    if given:
        assert world.remains is not None
        post = Post(EventType.NORMAL, STATE_REBUILT, rebuilt(world.remains))
    return (Claim(), Submit(run, workflow.wishes.rerun, given), ReportRun(), post, *again)


CHAIN: tuple[Check, ...] = (
    is_for_another_instance,
    another_engine_has_it,
    another_engine_may_have_it,
    run_is_damaged,
    is_being_deleted,
    status_is_ahead,
    was_withdrawn,
    was_edited_before_it_began,
    run_is_under_way,
    run_has_finished,
    is_history,
    state_is_lost,
    was_refused_as_it_stands,
    nobody_has_looked_at_the_spec,
    can_not_run,
    would_repeat_what_must_not_be,
    is_new,
)
"""The order matters: whose it is comes before what it says, what our store knows before what the status says."""


def _end_stray(run: KnownRun) -> Actions:
    """Its object is gone."""
    return (Forget(run.key),) if run.head.phase.finished or run.damaged else stop(run)


def _wishes(world: World, workflow: WorkflowObject, run: KnownRun) -> Actions:
    wishes, head = workflow.wishes, run.head
    actions: list[Action] = []
    modes = {mode.value: mode for mode in Shutdown}
    mode = modes.get(wishes.shutdown)
    spent = wishes.shutdown == world.spent_shutdown and bool(head.rerun_token)
    if mode is not None and head.shutdown not in (mode, Shutdown.TERMINATE) and not spent:
        actions.append(Ask(ShutdownRequested(run.key, mode)))
    changed: dict[str, Any] = {}
    if wishes.suspend != head.suspended:
        changed["suspended"] = wishes.suspend
    if wishes.priority != head.priority:
        changed["priority"] = wishes.priority
    if wishes.parallelism != head.parallelism:
        changed["parallelism"] = wishes.parallelism
        changed["clear_parallelism"] = wishes.parallelism is None
    if changed:
        actions.append(Ask(SettingsRequested(run.key, **changed)))
    return tuple(actions)


def _is_same_work(wanted: RunPlan, pinned: RunPlan | None) -> bool:
    """Whether they differ in nothing but what may change while a run is active."""
    if pinned is None:
        return True
    return wanted == replace(
        pinned, suspended=wanted.suspended, priority=wanted.priority, parallelism=wanted.parallelism
    )


def _report_if_stale(world: World, workflow: WorkflowObject, run: KnownRun) -> Actions:
    """What the engine does is written without being asked for; this is for all that it does not see."""
    reported = workflow.reported
    true = (
        reported.observed_generation == workflow.generation
        and reported.phase == PHASES[Standing(run.head.phase.value)]
        and reported.observed_rerun == world.observed_rerun
        and reported.stalled != STATE_LOST
        and _is_position_of_this_life(world, reported, run)
    )
    return () if true else (ReportRun(),)


def _is_position_of_this_life(world: World, reported: Reported, run: KnownRun) -> bool:
    store = reported.store
    if store is None or store.id != world.store.id:
        return False
    # A finished run's picture does not age; an active one shows that it has been taken up again.
    return run.head.phase.finished or store.epoch >= world.store.epoch


def _time_to_live(world: World, workflow: WorkflowObject) -> Actions:
    ttl, finished_at = workflow.wishes.ttl_seconds, workflow.reported.finished_at
    if ttl is None or finished_at is None or workflow.deleting:
        return ()
    left = finished_at + ttl - world.now
    return (Delete(),) if left <= 0 else (LookAgain(left),)
