"""Every metric, under the names that stock dashboards know where there are such. Labels are bounded: no workflow names.

One registry a process, given around; nothing is global.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which no dashboard reads

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
QUEUE = "workflow"


class Metrics:
    """What is counted, and a method for each thing that can happen. Safe from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Gauge("flowweaver_build_info", "Which FlowWeaver this is.", ["version", "python"], registry=registry)
        build.labels(_version(), platform.python_version()).set(1)

        self._count_queue(registry)
        self._count_requests(registry)
        self._count_runs(registry)
        self._count_writes(registry)
        self._count_state(registry)

    def _count_queue(self, registry: CollectorRegistry) -> None:
        queue: dict[str, Any] = {"labelnames": ["name"], "registry": registry}
        self._depth = Gauge("workqueue_depth", "Keys that wait.", **queue).labels(QUEUE)
        self._adds = Counter("workqueue_adds_total", "Keys that were added.", **queue).labels(QUEUE)
        self._retries = Counter("workqueue_retries_total", "Keys that came back.", **queue).labels(QUEUE)
        self._waits = Histogram(
            "workqueue_queue_duration_seconds", "Time in the queue.", buckets=QUICK, **queue
        ).labels(QUEUE)
        self._works = Histogram("workqueue_work_duration_seconds", "Time of work.", buckets=QUICK, **queue).labels(
            QUEUE
        )

        self._reconciled = Counter(
            "controller_runtime_reconcile_total", "Reconciliations.", ["controller", "result"], registry=registry
        )
        self._reconcile_errors = Counter(
            "controller_runtime_reconcile_errors_total", "Failed ones.", ["controller"], registry=registry
        ).labels(QUEUE)
        self._reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds", "Their time.", ["controller"], buckets=QUICK, registry=registry
        ).labels(QUEUE)

    def _count_requests(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rest_client_requests_total", "Requests to the API server.", ["code", "method"], registry=registry
        )
        self._request_seconds = Histogram(
            "rest_client_request_duration_seconds", "Their time.", ["verb"], buckets=QUICK, registry=registry
        )

    def _count_runs(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "flowweaver_task_attempts_total", "Attempts that ended a step.", ["outcome"], registry=registry
        )
        self._task_seconds = Histogram(
            "flowweaver_task_duration_seconds", "From first start to end.", buckets=LONG, registry=registry
        )
        self._finished = Counter(
            "flowweaver_workflows_finished_total", "Workflows that ended.", ["outcome"], registry=registry
        )
        self._workflow_seconds = Histogram(
            "flowweaver_workflow_duration_seconds", "From start to end.", buckets=LONG, registry=registry
        )
        self._refused = Counter("flowweaver_workflows_refused_total", "Refused.", ["reason"], registry=registry)

    def _count_writes(self, registry: CollectorRegistry) -> None:
        self._status_writes = Counter(
            "flowweaver_status_patches_total", "Status patches.", ["result"], registry=registry
        )
        self._status_seconds = Histogram(
            "flowweaver_status_patch_duration_seconds", "Their time.", buckets=QUICK, registry=registry
        )
        self._status_bytes = Counter("flowweaver_status_patch_bytes_total", "Bytes written.", registry=registry)
        self._coalesced = Counter("flowweaver_status_coalesced_total", "Patches saved.", registry=registry)
        self._events = Counter("flowweaver_events_posted_total", "Events.", ["result"], registry=registry)
        self._watch_restarts = Counter(
            "flowweaver_watch_restarts_total", "Watches that failed.", ["reason"], registry=registry
        )
        self._drift = Counter("flowweaver_resync_drift_total", "What a sweep found.", ["kind"], registry=registry)

    def _count_state(self, registry: CollectorRegistry) -> None:
        self._recovered = Counter(
            "flowweaver_recovered_tasks_total",
            "Tasks that a restart or a lost volume left.",
            ["action"],
            registry=registry,
        )
        self._store_errors = Counter(
            "flowweaver_store_errors_total", "Writes of the state file that failed.", ["kind"], registry=registry
        )
        self._backups = Counter(
            "flowweaver_backups_total", "Backups that the operator tried.", ["result"], registry=registry
        )
        self._backup_seconds = Histogram(
            "flowweaver_backup_duration_seconds", "Time of a backup.", buckets=LONG, registry=registry
        )
        self._backup_every = Gauge(
            "flowweaver_backup_interval_seconds", "How often the operator backs up; 0: never.", registry=registry
        )
        self._backup_at = Gauge(
            "flowweaver_backup_last_success_timestamp_seconds", "When the newest backup was written.", registry=registry
        )

    def watch_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for; `read` must not block."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def watch_gauges(self, name: str, text: str, label: str, read: dict[str, Callable[[], float]]) -> None:
        """The same with one label."""
        gauge = Gauge(name, text, [label], registry=self.registry)
        for value, function in read.items():
            gauge.labels(value).set_function(function)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)

    # -------------------------------------------------------------------------------------------------------- queue

    def depth(self, keys: int) -> None:
        """So many keys wait."""
        self._depth.set(keys)

    def added(self) -> None:
        """A key was added."""
        self._adds.inc()

    def started(self, waited_seconds: float) -> None:
        """A key was taken after so long."""
        self._waits.observe(waited_seconds)

    def ended(self, worked_seconds: float) -> None:
        """A key was done after so long."""
        self._works.observe(worked_seconds)

    def retried(self) -> None:
        """A key comes back after a failure."""
        self._retries.inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """A reconciliation ended as "success", "requeue" or "error"."""
        self._reconciled.labels(QUEUE, result).inc()
        self._reconcile_seconds.observe(seconds)
        if result == "error":
            self._reconcile_errors.inc()

    # --------------------------------------------------------------------------------------------------- API server

    def requested(self, method: str, code: int, seconds: float) -> None:
        """A request was answered; `code` 0: there was no answer."""
        self._requests.labels(str(code) if code else "<error>", method).inc()
        self._request_seconds.labels(method).observe(seconds)

    def status_written(self, result: str, seconds: float, size: int) -> None:
        """A status patch was tried."""
        self._status_writes.labels(result).inc()
        if result == "written":
            self._status_seconds.observe(seconds)
            self._status_bytes.inc(size)

    def status_coalesced(self) -> None:
        """A newer picture took the place of one that was not written yet."""
        self._coalesced.inc()

    def event_posted(self, result: str) -> None:
        """An Event was "posted", "dropped" or "failed"."""
        self._events.labels(result).inc()

    def watch_restarted(self, reason: str) -> None:
        """A watch failed."""
        self._watch_restarts.labels(reason).inc()

    def drifted(self, kind: str) -> None:
        """A sweep found something that the watch had not shown."""
        self._drift.labels(kind).inc()

    # -------------------------------------------------------------------------------------------------------- engine

    def attempt_ended(self, outcome: str) -> None:
        """A running task took a step."""
        self._attempts.labels(outcome).inc()

    def task_finished(self, seconds: float) -> None:
        """A task that had started has finished."""
        self._task_seconds.observe(seconds)

    def workflow_finished(self, outcome: str, seconds: float | None) -> None:
        """A run has finished; `seconds` None: it had not started."""
        self._finished.labels(outcome).inc()
        if seconds is not None:
            self._workflow_seconds.observe(seconds)

    def workflow_refused(self, reason: str) -> None:
        """A spec can not run."""
        self._refused.labels(reason).inc()

    # --------------------------------------------------------------------------------------------------------- state

    def recovered(self, action: str, tasks: int = 1) -> None:
        """So many tasks were "rebuilt" from a status, "interrupted" by a restart, or "adopted" from another store."""
        self._recovered.labels(action).inc(tasks)

    def store_failed(self, kind: str) -> None:
        """A write or a read of the state file failed: "full", "io", "corrupt" or "readonly"."""
        self._store_errors.labels(kind).inc()

    def backed_up(self, result: str, seconds: float) -> None:
        """A backup was "written" or "failed" after so long."""
        self._backups.labels(result).inc()
        if result == "written":
            self._backup_seconds.observe(seconds)

    def backup_every(self, seconds: float) -> None:
        """The operator backs up so often; 0: it does not. Told once, at the start."""
        self._backup_every.set(seconds)

    def backup_at(self, epoch: float) -> None:
        """The newest whole backup is of this time, in seconds since 1970; also told at the start of what is there."""
        self._backup_at.set(epoch)


def _version() -> str:
    try:
        return version("flowweaver-operator")
    except PackageNotFoundError:
        return "unknown"
