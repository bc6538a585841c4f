"""Holds back, before the engine starts, runs of which more has been reported than this volume knows.

Such a volume is a backup: going on from it would run again what has been done since. Only the API server can tell, and
it is asked briefly: an engine must be able to start without it.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from flowweaver.core.changes import Changes, RunChanged
from flowweaver.core.phases import RunPhase
from flowweaver.errors import StoreUnavailable
from flowweaver.operator.api import Api, ApiError, ApiGoneError
from flowweaver.operator.objects import parse
from flowweaver.operator.run_index import RunIndex
from flowweaver.ports import RunName, Store

MOST_QUESTIONS = 100
RETRY_SECONDS = 2.0
logger = logging.getLogger(__name__)


def hold_back_until(stopping: threading.Event, store: Store, api: Api, runs: RunIndex) -> None:
    """`hold_back`, tried again while the store can not be written."""
    while not stopping.is_set():
        try:
            hold_back(store, api, runs)
        except StoreUnavailable as error:
            logger.warning("what an older volume would repeat could not be held back yet: %s", error)
            stopping.wait(RETRY_SECONDS)
            with suppress(StoreUnavailable):
                store.reopen()
        else:
            return


def hold_back(store: Store, api: Api, runs: RunIndex) -> int:
    """Suspend them in the store and in the index; gives how many. Call it before the engine starts."""
    changes = Changes()
    names: dict[int, RunName] = {}
    position = store.position()
    for run in islice(store.unfinished_runs(lambda *_: None), MOST_QUESTIONS):  # the engine tells of damaged ones
        if run.head.suspended:
            continue
        namespace, _, name = run.name.workflow.partition("/")
        try:
            workflow = parse(api.read_workflow(namespace, name))
        except ApiGoneError:
            continue
        except ApiError as error:
            logger.debug("it can not be told whether this volume is older than what was reported: %s", error)
            break
        reported = workflow.reported.store
        if workflow.uid != run.name.run_id or reported is None or reported.id != position.id:
            continue
        if reported.sequence > position.sequence:
            head = replace(run.head, suspended=True, phase=RunPhase.SUSPENDED)
            changes.runs.append(RunChanged(run.key, head))
            names[run.key] = run.name
    if changes:
        store.commit(changes)
        for key, head in changes.runs:
            runs.hold_back(key, names[key], head)
        logger.warning("this volume is older than what was reported of it: %d runs are held back", len(changes.runs))
    return len(changes.runs)
