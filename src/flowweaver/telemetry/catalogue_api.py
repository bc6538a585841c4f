"""The metrics of what stands between the operator and the API server, under the names that stock dashboards know."""

from __future__ import annotations

from flowweaver.telemetry.catalogue import ANY, OTHER, counter, gauge, seconds, told

QUEUE = "workflow"
"""The name of the one work queue, and of the one controller."""

_NAME = {"name": (QUEUE,)}
_CONTROLLER = {"controller": (QUEUE,)}

STATUSES = (
    counter(
        "flowweaver_status_patches_total",
        "Statuses that were written, or tried.",
        "unreachable, busy: the API server; forbidden: a right is missing; too_large: a status was cut.",
        result=("written", "refused", "gone", "busy", "conflict", "unreachable", "too_large", "forbidden", OTHER),
    ),
    seconds(
        "flowweaver_status_patch_duration_seconds",
        "Time that the API server took for one.",
        "The API server is busy, or Workflows are large: fewer statuses are written then.",
    ),
    counter(
        "flowweaver_status_patch_bytes_total",
        "Bytes of statuses that were written.",
        "Large Workflows change often.",
    ),
    counter(
        "flowweaver_status_coalesced_total",
        "Changes that went into a write that was waiting already.",
        "Writes that were saved: much happens in a short time.",
    ),
    seconds(
        "flowweaver_status_lag_seconds",
        "Time from the first change that a status did not show to the write that showed it.",
        "People see old news; a second or two are meant to be.",
    ),
    gauge("flowweaver_status_waiting", "Statuses that are still to be written.", "Writes do not keep up, or fail."),
    gauge(
        "flowweaver_status_oldest_waiting_seconds",
        "How long the oldest of them waits.",
        "As the lag, and it grows while nothing can be written at all.",
    ),
    counter(
        "flowweaver_events_posted_total",
        "Events of Kubernetes.",
        "failed, dropped: some are missing; nothing else depends on them.",
        result=("posted", "dropped", "failed"),
    ),
    counter(
        "flowweaver_spans_total",
        "Spans of runs and attempts, where tracing is on.",
        "dropped: the collector does not take them, or not as fast as they come; nothing else depends on them.",
        result=("sent", "dropped"),
    ),
)

WATCH = (
    gauge("flowweaver_objects", "Workflows that the watch has shown and that are there.", "More were applied."),
    gauge(
        "flowweaver_watch_age_seconds",
        "Time since the watch was last known to miss nothing: its last event, or the last list that it agreed with.",
        "Above ten minutes, at which lists are compared: changes of Workflows may not be seen.",
    ),
    counter(
        "flowweaver_watch_restarts_total",
        "Watches that failed, by class of error.",
        "The API server is restarted or can not be reached, or a right is missing.",
        reason=ANY,
    ),
    counter(
        "flowweaver_resync_drift_total",
        "What a comparison found that the watch had not shown: Workflows that are gone, or were not seen.",
        "The watch misses something; what was found is put right.",
        kind=("gone", "unseen"),
    ),
    gauge(
        "flowweaver_lease_held",
        "1: this operator holds the Lease of its instance.",
        "0: another one is at work, or the API server can not be reached.",
    ),
)

QUEUES = (
    told("workqueue_depth", "Workflows that wait to be looked at.", "More changes than is looked at.", **_NAME),
    counter("workqueue_adds_total", "Workflows that were put on the queue.", "More happens to them.", **_NAME),
    seconds(
        "workqueue_queue_duration_seconds",
        "Time that one waited on the queue.",
        "The reconciler does not keep up: see the time of work and that of requests.",
        **_NAME,
    ),
    seconds(
        "workqueue_work_duration_seconds",
        "Time that looking at one took.",
        "The API server or the state file is slow, or specs are large.",
        **_NAME,
    ),
    gauge(
        "workqueue_unfinished_work_seconds",
        "The times of all that is being looked at now, together.",
        "Growing without end: threads hang.",
        **_NAME,
    ),
    gauge(
        "workqueue_longest_running_processor_seconds",
        "The longest of these times.",
        "Above a minute: one hangs.",
        **_NAME,
    ),
    counter("workqueue_retries_total", "Workflows that come back after a failure.", "See the log for why.", **_NAME),
    counter(
        "controller_runtime_reconcile_total",
        "Reconciliations.",
        "error: the log says why; requeue: an object had changed meanwhile.",
        **_CONTROLLER,
        result=("success", "error", "requeue"),
    ),
    counter(
        "controller_runtime_reconcile_errors_total",
        "Reconciliations that failed.",
        "The API server refuses something or is not there; the log says what.",
        **_CONTROLLER,
    ),
    seconds(
        "controller_runtime_reconcile_time_seconds",
        "Time of a reconciliation.",
        "The API server or the state file is slow.",
        **_CONTROLLER,
    ),
    gauge(
        "controller_runtime_max_concurrent_reconciles",
        "Reconciliations that may run at once.",
        "It is fixed.",
        **_CONTROLLER,
    ),
    gauge(
        "controller_runtime_active_workers",
        "Reconciliations that are running.",
        "At the maximum for long: the queue grows.",
        **_CONTROLLER,
    ),
)

REQUESTS = (
    counter(
        "rest_client_requests_total",
        "Requests to the API server, the watch aside. The code <error>: no answer.",
        "429 and 5xx: it is busy; 403: a right is missing; 409: somebody else has written.",
        code=ANY,
        method=ANY,
    ),
    seconds(
        "rest_client_request_duration_seconds",
        "Time to the answer of one.",
        "The API server is busy or far away.",
        verb=ANY,
    ),
)
