"""One Workflow at a time: gather what is known, plan, carry it out.

Everything is decided in `planning`; this module carries out. A deed that fails ends the
reconciliation, and the key comes back: every plan asks only for what is still to be done.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from flowweaver.core.events import RerunRequested, Shutdown, ShutdownRequested
from flowweaver.errors import InternalError
from flowweaver.manifest import Accepted, results_needed, validate
from flowweaver.operator import claims
from flowweaver.operator.actions import (
    Action,
    AnswerRerun,
    Ask,
    Claim,
    Delete,
    Forget,
    LookAgain,
    Post,
    Release,
    ReportHistory,
    ReportLoss,
    ReportRefusal,
    ReportRun,
    Submit,
    Validate,
    Withdraw,
    Write,
)
from flowweaver.operator.api import ApiConflictError, ApiError, ApiGoneError, ApiRefusedError
from flowweaver.operator.gathering import Gatherer
from flowweaver.operator.objects import WorkflowObject, parse
from flowweaver.operator.planning import plan
from flowweaver.operator.remains import remains_of
from flowweaver.operator.subjects import OfHistory, OfLoss, OfRefusal, OfRun, Subject
from flowweaver.operator.surroundings import Surroundings
from flowweaver.operator.world import World
from flowweaver.ports import RunName

UNREACHABLE_RETRY_SECONDS = 2.0
logger = logging.getLogger(__name__)


class _StoreTroubleError(Exception):
    """A new run can not be recorded now; nothing has been done."""


class _LookAgainSoon(Exception):
    """The object has changed meanwhile; a newer picture of it is in the cache."""


class Reconciler:
    """Threads that take keys from the queue."""

    def __init__(self, around: Surroundings, *, threads: int = 4) -> None:
        self._around = around
        self._gatherer = Gatherer(around)
        self._threads = [
            threading.Thread(target=self._run, name=f"flowweaver-reconcile-{number}", daemon=True)
            for number in range(threads)
        ]

    @property
    def threads(self) -> int:
        """How many Workflows may be looked at at once."""
        return len(self._threads)

    def start(self) -> None:
        """Begin to take keys."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """End what is under way and take nothing more."""
        self._around.queue.close()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def forget_object(self, uid: str) -> None:
        """The object is gone for good."""
        self._gatherer.forget(uid)
        self._around.writer.drop(uid)

    # ------------------------------------------------------------------------------------------------------ threads

    def _run(self) -> None:
        queue = self._around.queue
        while (key := queue.take()) is not None:
            began = time.monotonic()
            try:
                result = self._try(key)
            finally:
                queue.done(key)
            self._around.metrics.reconciled(result, time.monotonic() - began)

    def _try(self, key: str) -> str:
        queue = self._around.queue
        try:
            self.reconcile(key)
        except _LookAgainSoon:
            queue.add(key)
            return "requeue"
        except _StoreTroubleError:
            queue.add_after(key, UNREACHABLE_RETRY_SECONDS)
            return "requeue"
        except ApiError as error:
            if error.status == 0:
                queue.add_after(key, UNREACHABLE_RETRY_SECONDS)
                logger.debug("the API server can not be reached: %s", error, extra={"workflow": key})
            else:
                delay = max(queue.add_failed(key), error.retry_after_seconds)
                logger.warning("reconciling failed, again in %.1f s: %s", delay, error, extra={"workflow": key})
            return "error"
        except Exception as error:
            queue.add_failed(key)
            if isinstance(error, InternalError) and self._around.engine.health().failure:
                return "error"  # said already
            logger.exception("reconciling failed: please report this", extra={"workflow": key})
            return "error"
        queue.succeeded(key)
        return "success"

    def reconcile(self, key: str) -> None:
        """Bring one Workflow a step further. Raises `ApiError` where the API server did not do its part."""
        world = self._gatherer.gather(key)
        actions = plan(world)
        if any(isinstance(action, Validate) for action in actions):
            assert world.workflow is not None
            world = self._judged(world, self._body(world.workflow))
            actions = plan(world)
        if self._around.store_trouble() and any(isinstance(action, Submit) for action in actions):
            raise _StoreTroubleError  # before it is marked as accepted
        for action in actions:
            world = self._carry_out(key, world, action)

    def _judged(self, world: World, raw: Mapping[str, Any]) -> World:
        assert world.workflow is not None
        policy = self._around.policy
        verdict = validate(raw, policy)
        remains = None
        if isinstance(verdict, Accepted) and world.workflow.reported.started:
            remains = remains_of(raw.get("status") or {}, verdict.plan, results_needed(raw, verdict.workflow, policy))
        return replace(world, verdict=verdict, remains=remains)

    def _body(self, workflow: WorkflowObject) -> Mapping[str, Any]:
        if workflow.body is not None:
            return workflow.body
        raw = self._around.api.read_workflow(workflow.namespace, workflow.name)
        found = parse(raw)
        if found.uid != workflow.uid or found.generation != workflow.generation:
            self._around.cache.put(found)
            raise _LookAgainSoon
        return raw

    # ---------------------------------------------------------------------------------------------------- carry out

    def _carry_out(self, key: str, world: World, action: Action) -> World:
        """Do it; gives the world with what that has changed of it."""
        around, workflow = self._around, world.workflow
        match action:
            case Forget(run=run):
                around.engine.forget(run)
                logger.info("a workflow is gone, and its run is forgotten", extra={"workflow": key})
                self.forget_object(around.runs.remove(key, run))
            case Ask(event=event):
                if isinstance(event, RerunRequested) and workflow is not None:
                    self._gatherer.spent(workflow.uid, workflow.wishes.shutdown)
                around.engine.request(event)
            case Withdraw(run=run):
                logger.info("a workflow is gone or goes away: its run is ended", extra={"workflow": key})
                if workflow is not None:
                    around.writer.drop(workflow.uid)
                around.engine.request(ShutdownRequested(run, Shutdown.TERMINATE))
            case LookAgain(seconds=seconds):
                around.queue.add_after(key, max(seconds, 0.01))
            case Submit():
                assert workflow is not None
                return self._submit(world, workflow, action)
            case AnswerRerun(token=token):
                assert workflow is not None
                self._gatherer.answered(workflow.uid, token)
                return replace(world, answered=token)
            case Validate():
                raise InternalError("a plan asked twice for a validation")
            case _:
                assert workflow is not None
                self._write(world, workflow, action)
        return world

    def _write(self, world: World, workflow: WorkflowObject, action: Write) -> None:
        """Do what ends at the API server."""
        around = self._around
        match action:
            case Claim():
                self._patch(workflow, claims.claim(workflow, world.store.id))
            case Release():
                self._patch(workflow, claims.release(workflow))
            case ReportRun():
                self._report_run(world, workflow)
            case ReportRefusal(problems=problems):
                around.metrics.workflow_refused(problems[0].reason)
                logger.info("a workflow was refused", extra={"workflow": workflow.key, "reason": problems[0].reason})
                around.writer.want(self._subject(world, workflow, OfRefusal(problems)), urgent=True)
            case ReportLoss(message=message):
                logger.warning("a workflow is left alone: %s", message, extra={"workflow": workflow.key})
                around.writer.want(self._subject(world, workflow, OfLoss(message)), urgent=True)
            case ReportHistory():
                around.writer.want(self._subject(world, workflow, OfHistory()))
            case Post():
                around.recorder.post(workflow.namespace, workflow.name, workflow.uid, action)
            case Delete():
                self._delete(workflow)
            case _:
                assert_never(action)

    def _submit(self, world: World, workflow: WorkflowObject, action: Submit) -> World:
        around = self._around
        name = RunName(workflow.key, workflow.uid)
        if action.token:
            self._gatherer.answered(workflow.uid, action.token)
        key = around.engine.submit(name, action.plan, action.given)
        if action.given:
            around.metrics.recovered("rebuilt", len(action.given))
        if world.adopt and workflow.reported.started:
            around.metrics.recovered("adopted", len(action.plan.tasks) - len(action.given))
        snapshot = around.engine.snapshot(key)
        assert snapshot is not None
        around.runs.record_new(key, name, snapshot.head)
        logger.info("a workflow was accepted", extra={"workflow": workflow.key})
        return replace(world, run=around.runs.of(workflow.key)[workflow.uid], answered=action.token or world.answered)

    def _report_run(self, world: World, workflow: WorkflowObject) -> None:
        assert world.run is not None
        # The engine may have gone on since the world was gathered.
        run = self._around.runs.of(workflow.key).get(workflow.uid, world.run)
        subject = self._subject(world, workflow, OfRun(run.key))
        self._around.writer.want(subject, urgent=run.head.phase.finished)
        latest = self._around.runs.of(workflow.key).get(workflow.uid)
        if latest is not None and latest.head.phase.finished:  # it ended before anybody was listening
            self._around.writer.touch(workflow.uid, urgent=True)

    def _subject(
        self, world: World, workflow: WorkflowObject, about: OfRun | OfRefusal | OfLoss | OfHistory
    ) -> Subject:
        reported = workflow.reported
        return Subject(
            namespace=workflow.namespace,
            name=workflow.name,
            uid=workflow.uid,
            generation=workflow.generation,
            observed_rerun=world.observed_rerun,
            token=workflow.wishes.rerun,
            store=reported.store,
            least_epoch=reported.store.epoch if reported.store and reported.store.id == world.store.id else 0,
            previous=reported.conditions,
            about=about,
        )

    def _patch(self, workflow: WorkflowObject, patch: list[dict[str, Any]]) -> None:
        """Apply it to the object as we know it; where it is another one by now, look again."""
        if not patch:
            return
        around = self._around
        try:
            answer = around.api.patch_workflow(workflow.namespace, workflow.name, patch)
        except ApiGoneError:
            around.cache.remove(workflow.key, workflow.uid)
            raise _LookAgainSoon from None
        except (ApiRefusedError, ApiConflictError) as error:
            newer = parse(around.api.read_workflow(workflow.namespace, workflow.name))
            if newer.uid == workflow.uid and newer.resource_version == workflow.resource_version:
                raise  # nothing has changed: it is refused as it is
            around.cache.put(newer)
            raise _LookAgainSoon from error
        metadata = parse(answer)
        around.cache.amend(
            workflow.key,
            workflow.uid,
            metadata.resource_version,
            finalizers=metadata.finalizers,
            annotated=metadata.annotated,
            claimed_by=metadata.claimed_by,
            deleting=metadata.deleting,
        )

    def _delete(self, workflow: WorkflowObject) -> None:
        logger.info("a workflow has outlived its ttlSecondsAfterFinished", extra={"workflow": workflow.key})
        try:
            self._around.api.delete_workflow(workflow.namespace, workflow.name, uid=workflow.uid)
        except (ApiGoneError, ApiConflictError):
            return  # gone, or another one has its name
