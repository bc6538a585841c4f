"""What a reconciliation reads from and writes to, in one place. It is put together by `service`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flowweaver.engine import Engine
from flowweaver.operator.api import Api
from flowweaver.operator.live_stores import LiveStores
from flowweaver.operator.objects import ObjectCache
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.recorder import Recorder
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.policy import Policy
from flowweaver.ports import Clock, Store
from flowweaver.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that a reconciliation reads from and writes to."""

    instance: str
    namespaces: tuple[str, ...]  # what is watched; empty: all
    adopt: bool
    policy: Policy
    store: Store
    engine: Engine
    api: Api
    cache: ObjectCache
    runs: RunIndex
    live: LiveStores
    writer: StatusWriter
    recorder: Recorder
    queue: WorkQueue
    clock: Clock
    metrics: Metrics
    store_trouble: Callable[[], str]  # why the store can not be written now; empty: it can
