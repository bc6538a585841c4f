"""The metrics that are read when they are asked for. Reading one takes no lock that a turn of the engine holds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping

from flowweaver.core.phases import RunPhase
from flowweaver.engine import Engine
from flowweaver.operator.lease import Lease
from flowweaver.operator.objects import ObjectCache
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.reconciler import Reconciler
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.operator.sweeps import Sweeper
from flowweaver.operator.watcher import Watcher
from flowweaver.ports import Store
from flowweaver.stores import SQLiteStore
from flowweaver.telemetry.catalogue_api import QUEUE
from flowweaver.telemetry.metrics import Metrics

NOTHING = float("nan")
"""Where there is nothing to say; the other metrics are shown all the same."""


def watch_runs(metrics: Metrics, engine: Engine, runs: RunIndex) -> None:
    """Runs, tasks, workers, and how the engine is doing."""
    health = engine.health
    for phase in RunPhase:
        metrics.watch("flowweaver_workflows", lambda phase=phase: runs.count(phase), phase.value)  # type: ignore[misc]
    metrics.watch("flowweaver_tasks_ready", engine.ready_tasks)
    metrics.watch("flowweaver_workers", lambda: health().workers)
    metrics.watch("flowweaver_workers_busy", lambda: health().running)
    metrics.watch("flowweaver_attempts_abandoned", lambda: health().abandoned)
    metrics.watch("flowweaver_engine_heartbeat_age_seconds", lambda: time.monotonic() - health().heartbeat_at)
    metrics.watch("flowweaver_store_commit_seconds", lambda: health().commit_seconds)


def watch_store(metrics: Metrics, store: Store) -> None:
    """The state file and its volume."""
    openings = float(store.position().epoch)
    metrics.watch("flowweaver_store_openings", lambda: openings)
    if isinstance(store, SQLiteStore):
        folder = store.path.parent
        metrics.watch("flowweaver_store_database_bytes", _size(store.database_bytes))
        metrics.watch("flowweaver_store_wal_bytes", _size(store.wal_bytes))
        metrics.watch("flowweaver_store_free_bytes", _size(lambda: shutil.disk_usage(folder).free))
        metrics.watch("flowweaver_store_capacity_bytes", _size(lambda: shutil.disk_usage(folder).total))


def watch_cluster(
    metrics: Metrics, *, cache: ObjectCache, lease: Lease, writer: StatusWriter, watcher: Watcher, sweeper: Sweeper
) -> None:
    """What is known of the cluster, and what it is told."""
    metrics.watch("flowweaver_objects", lambda: len(cache))
    metrics.watch("flowweaver_lease_held", lambda: float(lease.held))
    metrics.watch("flowweaver_status_waiting", lambda: len(writer))
    metrics.watch("flowweaver_status_oldest_waiting_seconds", writer.oldest_wait_seconds)

    def age() -> float:
        known = [at for at in (watcher.event_at, sweeper.agreed_at) if at is not None]
        return time.monotonic() - max(known) if known else NOTHING

    metrics.watch("flowweaver_watch_age_seconds", age)


def watch_queue(metrics: Metrics, queue: WorkQueue, reconciler: Reconciler) -> None:
    """Work that is under way."""
    metrics.watch("workqueue_unfinished_work_seconds", queue.unfinished_work_seconds, QUEUE)
    metrics.watch("workqueue_longest_running_processor_seconds", queue.oldest_work_seconds, QUEUE)
    metrics.watch("controller_runtime_active_workers", lambda: queue.working, QUEUE)
    metrics.watch("controller_runtime_max_concurrent_reconciles", lambda: reconciler.threads, QUEUE)


def watch_readiness(metrics: Metrics, unready: Callable[[], Mapping[str, str]]) -> None:
    """Whether a new Workflow would be taken up."""
    metrics.watch("flowweaver_ready", lambda: float(not unready()))


def _size(read: Callable[[], int]) -> Callable[[], float]:
    """A size that is no number where the file can not be looked at."""

    def size() -> float:
        try:
            return float(read())
        except OSError:
            return NOTHING

    return size
