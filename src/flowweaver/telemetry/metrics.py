"""Every metric of the operator, and a method for each thing that can happen. What each one means is in `catalogue…`.

One registry a process, given around; nothing is global.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any

import apsw
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from flowweaver.telemetry.catalogue import OTHER, Metric
from flowweaver.telemetry.catalogue_api import QUEUE, QUEUES, REQUESTS, STATUSES, WATCH
from flowweaver.telemetry.catalogue_runs import BUILD, RUNS, STORE, WORKERS

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which no dashboard reads

CATALOGUE: Mapping[str, Metric] = {
    metric.name: metric
    for group in (BUILD, RUNS, WORKERS, STORE, STATUSES, WATCH, QUEUES, REQUESTS)
    for metric in group
}
"""Every metric by its name, beside the `process_…` that each Prometheus client has."""


class Metrics:
    """What is counted. Safe from any thread; nothing here blocks."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._series: dict[tuple[str, ...], Any] = {}  # by name and values of labels
        self._families: dict[str, Any] = {}  # those with labels, by name
        for metric in CATALOGUE.values():
            if not metric.read:
                self._add(metric)
        self._at("flowweaver_build_info", own_version(), platform.python_version(), apsw.sqlite_lib_version()).set(1)

    def _add(self, metric: Metric) -> None:
        family: Any
        names = tuple(metric.labels)
        if metric.kind == "histogram":
            family = Histogram(metric.name, metric.help, names, buckets=metric.buckets, registry=self.registry)
        else:
            kind = Counter if metric.kind == "counter" else Gauge
            family = kind(metric.name, metric.help, names, registry=self.registry)
        if not names:
            self._series[metric.name,] = family
            return
        self._families[metric.name] = family
        if metric.closed:
            for values in product(*metric.labels.values()):
                self._series[metric.name, *values] = family.labels(*values)

    def _at(self, *key: str) -> Any:
        """The series of a name and the values of its labels."""
        try:
            return self._series[key]
        except KeyError:
            name, *values = key
        allowed = CATALOGUE[name].labels.values()
        bounded = [
            value if not known or value in known else OTHER for value, known in zip(values, allowed, strict=True)
        ]
        found = self._series[name, *bounded] = self._families[name].labels(*bounded)
        return found

    def watch(self, name: str, read: Callable[[], float], *values: str) -> None:
        """Have a gauge read whenever it is asked for; `read` must not block. `values` are those of its labels."""
        metric = CATALOGUE[name]
        if name not in self._families:
            self._families[name] = Gauge(name, metric.help, tuple(metric.labels), registry=self.registry)
        family = self._families[name]
        (family.labels(*values) if metric.labels else family).set_function(read)

    def exposition(self) -> bytes:
        """The text format."""
        return generate_latest(self.registry)

    # -------------------------------------------------------------------------------------------------------- queue

    def depth(self, keys: int) -> None:
        """So many keys wait."""
        self._at("workqueue_depth", QUEUE).set(keys)

    def added(self) -> None:
        """A key was added."""
        self._at("workqueue_adds_total", QUEUE).inc()

    def started(self, waited_seconds: float) -> None:
        """A key was taken after so long."""
        self._at("workqueue_queue_duration_seconds", QUEUE).observe(waited_seconds)

    def ended(self, worked_seconds: float) -> None:
        """A key was done after so long."""
        self._at("workqueue_work_duration_seconds", QUEUE).observe(worked_seconds)

    def retried(self) -> None:
        """A key comes back after a failure."""
        self._at("workqueue_retries_total", QUEUE).inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """A reconciliation ended as "success", "requeue" or "error"."""
        self._at("controller_runtime_reconcile_total", QUEUE, result).inc()
        self._at("controller_runtime_reconcile_time_seconds", QUEUE).observe(seconds)
        if result == "error":
            self._at("controller_runtime_reconcile_errors_total", QUEUE).inc()

    # --------------------------------------------------------------------------------------------------- API server

    def requested(self, method: str, code: int, seconds: float) -> None:
        """A request was answered; `code` 0: there was no answer."""
        self._at("rest_client_requests_total", str(code) if code else "<error>", method).inc()
        self._at("rest_client_request_duration_seconds", method).observe(seconds)

    def status_written(self, result: str, seconds: float, size: int) -> None:
        """A status patch was tried."""
        self._at("flowweaver_status_patches_total", result).inc()
        if result == "written":
            self._at("flowweaver_status_patch_duration_seconds").observe(seconds)
            self._at("flowweaver_status_patch_bytes_total").inc(size)

    def status_shown(self, lag_seconds: float) -> None:
        """A status was written so long after the first change that it shows."""
        self._at("flowweaver_status_lag_seconds").observe(lag_seconds)

    def status_coalesced(self) -> None:
        """A newer picture took the place of one that was not written yet."""
        self._at("flowweaver_status_coalesced_total").inc()

    def event_posted(self, result: str) -> None:
        """An Event was "posted", "dropped" or "failed"."""
        self._at("flowweaver_events_posted_total", result).inc()

    def spans(self, result: str, number: int) -> None:
        """So many spans were "sent" to the collector, or "dropped"."""
        self._at("flowweaver_spans_total", result).inc(number)

    def watch_restarted(self, reason: str) -> None:
        """A watch failed."""
        self._at("flowweaver_watch_restarts_total", reason).inc()

    def drifted(self, kind: str) -> None:
        """A sweep found something that the watch had not shown."""
        self._at("flowweaver_resync_drift_total", kind).inc()

    # -------------------------------------------------------------------------------------------------------- engine

    def attempt_ended(self, body: str, outcome: str) -> None:
        """An attempt of such a body ended so."""
        self._at("flowweaver_task_attempts_total", body, outcome).inc()

    def attempt_repeated(self, body: str, reason: str) -> None:
        """After a failure for that reason the task is tried again."""
        self._at("flowweaver_task_retries_total", body, reason).inc()

    def expression_failed(self) -> None:
        """An attempt failed because of an expression."""
        self._at("flowweaver_expression_errors_total").inc()

    def task_waited(self, seconds: float) -> None:
        """A task's first attempt has started so long after it could have."""
        self._at("flowweaver_task_queue_wait_seconds").observe(seconds)

    def task_finished(self, body: str, seconds: float) -> None:
        """A task that had started has finished."""
        self._at("flowweaver_task_duration_seconds", body).observe(seconds)

    def workflow_started(self, latency_seconds: float) -> None:
        """The first task of a run has started so long after the run was there."""
        self._at("flowweaver_workflow_start_latency_seconds").observe(latency_seconds)

    def workflow_finished(self, outcome: str, seconds: float | None) -> None:
        """A run has finished; `seconds` None: it had not started."""
        self._at("flowweaver_workflows_finished_total", outcome).inc()
        if seconds is not None:
            self._at("flowweaver_workflow_duration_seconds", outcome).observe(seconds)

    def workflow_refused(self, reason: str) -> None:
        """A spec can not run."""
        self._at("flowweaver_workflows_refused_total", reason).inc()

    def committed(self, seconds: float) -> None:
        """A turn is durable after so long."""
        self._at("flowweaver_store_commit_duration_seconds").observe(seconds)

    # --------------------------------------------------------------------------------------------------------- state

    def recovered(self, action: str, tasks: int = 1) -> None:
        """So many tasks were "rebuilt" from a status, "interrupted" by a restart, or "adopted" from another store."""
        self._at("flowweaver_recovered_tasks_total", action).inc(tasks)

    def store_failed(self, kind: str) -> None:
        """A write or a read of the state file failed: "full", "io", "corrupt" or "readonly"."""
        self._at("flowweaver_store_errors_total", kind).inc()

    def backed_up(self, result: str, seconds: float) -> None:
        """A backup was "written" or "failed" after so long."""
        self._at("flowweaver_backups_total", result).inc()
        if result == "written":
            self._at("flowweaver_backup_duration_seconds").observe(seconds)

    def backup_every(self, seconds: float) -> None:
        """The operator backs up so often; 0: it does not. Told once, at the start."""
        self._at("flowweaver_backup_interval_seconds").set(seconds)

    def backup_at(self, epoch: float) -> None:
        """The newest whole backup is of this time, in seconds since 1970; also told at the start of what is there."""
        self._at("flowweaver_backup_last_success_timestamp_seconds").set(epoch)


def own_version() -> str:
    """Which FlowWeaver this is."""
    try:
        return version("flowweaver-operator")
    except PackageNotFoundError:
        return "unknown"
