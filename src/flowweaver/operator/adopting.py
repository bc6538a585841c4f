"""The checks of the plan that concern a state which is lost, damaged, or older than what was reported of it.

Pure, as `planning`, which has them in its chain.
"""

from __future__ import annotations

from flowweaver.core.events import SettingsRequested, Shutdown, ShutdownRequested
from flowweaver.operator.actions import (
    Action,
    AnswerRerun,
    Ask,
    EventType,
    Forget,
    LookAgain,
    Post,
    Release,
    ReportLoss,
    Validate,
)
from flowweaver.operator.losses import damaged, lost, older, strict
from flowweaver.operator.names import STATE_LOST
from flowweaver.operator.objects import WorkflowObject
from flowweaver.operator.remains import Recovery
from flowweaver.operator.world import KnownRun, Owner, World

Actions = tuple[Action, ...]


def run_is_damaged(world: World, workflow: WorkflowObject) -> Actions | None:
    """What the store has of it can not be read: it is held, and others go on."""
    run = world.run
    if run is None or not run.damaged or (workflow.reported.finished and not world.rerun_wanted):
        return None
    if workflow.deleting:
        return (Forget(run.key), *((Release(),) if workflow.held else ()))
    if world.rerun_wanted or world.adopt:
        return (Forget(run.key), LookAgain(0.0))  # what the status says is all that is known, as of a lost volume
    return _report_loss(workflow, damaged(run.damaged))


def status_is_ahead(world: World, workflow: WorkflowObject) -> Actions | None:
    """The volume is older than what this Workflow reports of it: a backup was restored."""
    store, run = workflow.reported.store, world.run
    if run is None or store is None or world.adopt or world.rerun_wanted:
        return None
    # Holding it back was a commit too, and what was reported may be one commit ahead.
    ahead = run.held_back or (store.id == world.store.id and store.sequence > world.store.sequence)
    if ahead and workflow.reported.finished:
        # What has finished is history. Our record of it is older than that, and must not speak.
        return (*stop(run), LookAgain(1.0)) if not run.head.phase.finished else (Forget(run.key),)
    suspend = Ask(SettingsRequested(run.key, suspended=True))
    if ahead and not run.head.phase.finished:
        return (*(() if run.head.suspended else (suspend,)), *_report_loss(workflow, older(workflow)))
    return _report_loss(workflow, older(workflow)) if is_held_back(world, workflow, run) else None


def is_held_back(world: World, workflow: WorkflowObject, run: KnownRun) -> bool:
    """Whether the run was suspended by `status_is_ahead`, in this life or in an earlier one."""
    lost = workflow.reported.stalled == STATE_LOST and not (world.adopt or world.rerun_wanted)
    return lost and run.head.suspended and not workflow.wishes.suspend and not run.head.phase.finished


def state_is_lost(world: World, workflow: WorkflowObject) -> Actions | None:
    """It has begun somewhere, and our store knows nothing of it: starting it could repeat what has been done.

    Whoever lets it go on is told before what that comes to.
    """
    reported = workflow.reported
    never_reported = reported.observed_generation < 0
    begun = reported.started or (world.owner is Owner.DEAD and never_reported)
    if not begun or reported.finished or world.adopt or world.rerun_wanted:
        return None
    releases: Actions = (Release(),) if workflow.held else ()
    if _is_reported_as_lost(workflow):
        return releases
    if world.verdict is None and reported.started:
        return (Validate(),)
    return (*_report_loss(workflow, lost(workflow, world.store.id, world.remains)), *releases)


def would_repeat_what_must_not_be(world: World, workflow: WorkflowObject) -> Actions | None:
    """Its state is lost, it was let go on, and what has completed would have to run again: its user forbids that."""
    remains = world.remains
    if remains is None or workflow.recover != Recovery.STRICT or not remains.repeats:
        return None
    releases: Actions = (Release(),) if workflow.held else ()
    answers: Actions = (AnswerRerun(world.rerun_wanted),) if world.rerun_wanted else ()
    return (*answers, *_report_loss(workflow, strict(remains)), *releases)


def _report_loss(workflow: WorkflowObject, message: str) -> Actions:
    if _is_reported_as_lost(workflow):
        return ()
    return (ReportLoss(message), Post(EventType.WARNING, STATE_LOST, message))


def _is_reported_as_lost(workflow: WorkflowObject) -> bool:
    return workflow.reported.stalled == STATE_LOST and not unseen_edit(workflow)


def stop(run: KnownRun | None) -> Actions:
    """End it, where that has not been asked for."""
    if run is None or run.head.phase.finished or run.head.shutdown is Shutdown.TERMINATE:
        return ()
    return (Ask(ShutdownRequested(run.key, Shutdown.TERMINATE)),)


def unseen_edit(workflow: WorkflowObject) -> bool:
    """Whether the spec was edited after the status was written."""
    return workflow.reported.observed_generation != workflow.generation
