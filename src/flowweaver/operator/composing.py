"""Composes the status of a subject at the moment of writing, from the engine's newest picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from flowweaver.engine import Engine
from flowweaver.errors import RunCorrupt
from flowweaver.operator.api import Api
from flowweaver.operator.names import workflow_key
from flowweaver.operator.objects import ObjectCache, reported
from flowweaver.operator.status import (
    Context,
    status_of_history,
    status_of_loss,
    status_of_refusal,
    status_of_run,
)
from flowweaver.operator.subjects import Composed, OfHistory, OfLoss, OfRefusal, OfRun, Subject
from flowweaver.ports import Clock

logger = logging.getLogger(__name__)


class Composer:
    """What the status writer calls: `compose` and `send`. Safe from any thread."""

    def __init__(self, *, engine: Engine, api: Api, cache: ObjectCache, clock: Clock) -> None:
        self._engine = engine
        self._api = api
        self._cache = cache
        self._clock = clock

    def compose(self, subject: Subject, limit_bytes: int | None) -> Composed | None:
        """The status that is true now; None where there is nothing to say any more. Raises `ApiError`."""
        context = Context(
            generation=subject.generation,
            observed_rerun=subject.observed_rerun,
            previous=subject.previous,
            least_epoch=subject.least_epoch,
            now=self._clock.now(),
        )
        match subject.about:
            case OfRun(run=key):
                return self._of_run(key, subject, context, limit_bytes)
            case OfRefusal(problems=problems):
                return Composed(status_of_refusal(problems, context, subject.store), final=True)
            case OfLoss(message=message):
                shown = self._shown(subject)
                return None if shown is None else Composed(status_of_loss(shown, message, context), final=True)
            case OfHistory():
                shown = self._shown(subject)
                return None if shown is None else Composed(status_of_history(shown, context), final=True)
            case _:
                assert_never(subject.about)

    def send(self, subject: Subject, composed: Composed, patch: bytes) -> None:
        """Write it, and remember what the object says now without waiting for the watch. Raises `ApiError`."""
        answer = self._api.patch_status(subject.namespace, subject.name, patch)
        version = str(answer.get("metadata", {}).get("resourceVersion", ""))
        key = workflow_key(subject.namespace, subject.name)
        self._cache.amend(key, subject.uid, version, reported=reported(composed.status))

    def _of_run(self, key: int, subject: Subject, context: Context, limit: int | None) -> Composed | None:
        try:
            snapshot = self._engine.snapshot(key)
        except RunCorrupt as error:
            logger.error("a status stays as it is, because its run can not be read: %s", error)  # noqa: TRY400 - the sentence says it all
            return None
        if snapshot is None:
            return None
        token = snapshot.head.rerun_token
        if token and token == subject.token:
            context = replace(context, observed_rerun=token)
        finished = snapshot.head.phase.finished
        return Composed(status_of_run(snapshot, context, limit_bytes=limit), final=finished)

    def _shown(self, subject: Subject) -> Mapping[str, Any] | None:
        raw = self._api.read_workflow(subject.namespace, subject.name)
        if raw.get("metadata", {}).get("uid") != subject.uid:
            return None
        return dict(raw.get("status") or {})
