"""Health and metrics of an operator, and what stands out in them. The text format is read here, without a library."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flowweaver.cli.doctor_parts import Part
from flowweaver.cli.progress import plain
from flowweaver.errors import FlowWeaverError

Fetch = Callable[[str], tuple[int, str]]
"""Gives status and text of a path such as /readyz; may raise a `FlowWeaverError`."""

COMMITS = "flowweaver_store_commit_duration_seconds"
TIMES = {
    "commits": COMMITS,
    "waiting in the queue": "workqueue_queue_duration_seconds",
    "reconciliations": "controller_runtime_reconcile_time_seconds",
    "status patches": "flowweaver_status_patch_duration_seconds",
    "requests to the API server": "rest_client_request_duration_seconds",
    "tasks until they start": "flowweaver_task_queue_wait_seconds",
}
QUEUE = (
    "workqueue_depth",
    "workqueue_unfinished_work_seconds",
    "workqueue_longest_running_processor_seconds",
    "flowweaver_status_waiting",
    "flowweaver_status_oldest_waiting_seconds",
    "flowweaver_tasks_ready",
    "flowweaver_workers",
    "flowweaver_workers_busy",
    "flowweaver_attempts_abandoned",
    "flowweaver_workflows",
    "flowweaver_watch_age_seconds",
    "flowweaver_lease_held",
    "flowweaver_store_writable",
    "flowweaver_store_database_bytes",
    "flowweaver_store_wal_bytes",
    "flowweaver_store_free_bytes",
)
TROUBLE = (
    "flowweaver_store_errors_total",
    "flowweaver_expression_errors_total",
    "flowweaver_watch_restarts_total",
    "flowweaver_resync_drift_total",
    "controller_runtime_reconcile_errors_total",
    "workqueue_retries_total",
    "flowweaver_workflows_refused_total",
)
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of the text format."""

    name: str
    labels: dict[str, str]
    value: float


def look_at(part: Part, fetch: Fetch, *, files: str) -> None:
    """Ask all three paths; `files` is the folder of what is kept in the archive."""
    for path in ("/healthz", "/readyz"):
        _ask(part, fetch, path)
    text = _ask(part, fetch, "/metrics")
    if text is None:
        return
    part.keep(f"{files}/metrics.txt", text)
    _tell(part, list(read(text)))


def _ask(part: Part, fetch: Fetch, path: str) -> str | None:
    """What is answered, where that is good; anything else is told as wrong."""
    try:
        status, text = fetch(path)
    except FlowWeaverError as error:
        part.wrong(f"{path}: {error}")
        return None
    said = "" if path == "/metrics" else plain("; ".join(text.strip().splitlines()))
    (part.say if status == 200 else part.wrong)(f"{path}: {status} {said}".rstrip())
    return text if status == 200 else None


def read(text: str) -> Iterator[Sample]:
    """The samples of an exposition; a line that is none is passed over."""
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:
            continue
        try:
            yield Sample(found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"]))
        except ValueError:
            continue


def _tell(part: Part, samples: list[Sample]) -> None:
    part.table(
        (f"{sample.name}{_shown(sample.labels)}", f"{sample.value:g}")
        for name in QUEUE
        for sample in samples
        if sample.name == name
    )
    for what, name in TIMES.items():
        if told := _distribution(samples, name):
            part.say(f"{what}: {told}")
    for sample in samples:
        if sample.name in TROUBLE and sample.value:
            part.wrong(f"{sample.name}{_shown(sample.labels)} {sample.value:g}")


def _distribution(samples: list[Sample], name: str) -> str:
    """Number, mean and upper bounds of a histogram, over all of its labels."""
    number = sum(sample.value for sample in samples if sample.name == f"{name}_count")
    if not number:
        return ""
    total = sum(sample.value for sample in samples if sample.name == f"{name}_sum")
    bounds: dict[float, float] = {}
    for sample in samples:
        if sample.name == f"{name}_bucket":
            bound = float(sample.labels.get("le", "inf"))
            bounds[bound] = bounds.get(bound, 0.0) + sample.value
    shares = ", ".join(f"{share:.0%} within {_bound(bounds, share * number)}" for share in (0.5, 0.99))
    return f"{number:g}, mean {total / number * 1000:.1f} ms, {shares}, the slowest within {_bound(bounds, number)}"


def _bound(bounds: dict[float, float], wanted: float) -> str:
    found = min((bound for bound, number in bounds.items() if number >= wanted), default=math.inf)
    known = max((bound for bound in bounds if not math.isinf(bound)), default=0.0)
    return f"more than {known:g} s" if math.isinf(found) else f"{found:g} s"


def _shown(labels: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""
