#!/usr/bin/env python3
"""Writes the dashboard of the chart, charts/flowweaver/files/dashboards/flowweaver.json; with --check only looks.

A panel is a line or two below; everything that Grafana wants beside is added here. Each says in its description what
to think of when it moves.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT = Path(__file__).resolve().parents[1] / "charts/flowweaver/files/dashboards/flowweaver.json"
OURS = 'namespace=~"$namespace", job=~"$job"'
COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of some expressions, each with the name of its lines."""

    title: str
    description: str
    unit: str
    lines: Mapping[str, str]  # legend → expression, in which OURS stands for the labels of what is looked at
    stat: bool = False
    width: int = 6
    bad: Sequence[tuple[float, str]] = ()  # from this value on, that colour

    @property
    def height(self) -> int:
        """In rows of Grafana's grid."""
        return 4 if self.stat else 7


def rate(name: str, by: str, labels: str = "") -> str:
    """Of a counter, a second."""
    return f"sum by ({by}) (rate({name}{{OURS{labels}}}[$__rate_interval]))"


def quantile(part: float, name: str, by: str = "") -> str:
    """Of a histogram; below it so great a part of what was measured lies."""
    more = f", {by}" if by else ""
    return f"histogram_quantile({part}, sum by (le{more}) (rate({name}_bucket{{OURS}}[$__rate_interval])))"


def quantiles(name: str) -> dict[str, str]:
    """The middle, and one in twenty."""
    return {"half are below": quantile(0.5, name), "95% are below": quantile(0.95, name)}


def stat(title: str, description: str, unit: str, expression: str, *bad: tuple[float, str]) -> Panel:
    """One number."""
    return Panel(title, description, unit, {"": expression}, stat=True, width=4, bad=bad)


FINISHED = "flowweaver_workflows_finished_total"
ATTEMPTS = "flowweaver_task_attempts_total"

ROWS: Mapping[str, Sequence[Panel]] = {
    "At a glance": (
        stat("Ready", "1: a new Workflow is taken up at once. Else /readyz says why not.", "none",
             "max(flowweaver_ready{OURS})", (0, "red"), (1, "green")),
        stat("Workflows under way", "Neither finished nor suspended.", "none",
             'sum(flowweaver_workflows{OURS, phase=~"pending|running"})'),
        stat("Failed in the last hour", "Workflows; the alert asks for a quarter of those that ended.", "none",
             f'round(sum(increase({FINISHED}{{OURS, outcome="failed"}}[1h])))', (0, "green"), (1, "orange")),
        stat("Workers busy", "At 100% everything else waits.", "percentunit",
             "sum(flowweaver_workers_busy{OURS}) / sum(flowweaver_workers{OURS})", (0, "green"), (0.95, "orange")),
        stat("Volume free", "Of the state file. At 0 nothing is started.", "percentunit",
             "min(flowweaver_store_free_bytes{OURS} / flowweaver_store_capacity_bytes{OURS})",
             (0, "red"), (0.1, "orange"), (0.2, "green")),
        stat("Newest backup", "Its age; since 1970 where there is none.", "s",
             "time() - max(flowweaver_backup_last_success_timestamp_seconds{OURS})"),
    ),
    "Workflows": (
        Panel("Workflows by phase", "Finished ones stay until they are deleted.", "none",
              {"{{phase}}": "sum by (phase) (flowweaver_workflows{OURS})"}),
        Panel("Workflows that ended", "A second. None at all while some are running: nothing gets done.", "ops",
              {"{{outcome}}": rate(FINISHED, "outcome")}),
        Panel("Duration of a workflow", "From the start of its first task to its end.", "s",
              quantiles("flowweaver_workflow_duration_seconds")),
        Panel("Start latency", "From when it was recorded to the start of its first task.", "s",
              quantiles("flowweaver_workflow_start_latency_seconds")),
    ),
    "Tasks": (
        Panel("Attempts by outcome", "timed_out leaves bodies behind; crashed: the process died.", "ops",
              {"{{outcome}}": rate(ATTEMPTS, "outcome")}),
        Panel("Attempts by body", "What the operator is busy with.", "ops", {"{{body}}": rate(ATTEMPTS, "body")}),
        Panel("Duration of a task", "With its retries; 95% are below.", "s",
              {"{{body}}": quantile(0.95, "flowweaver_task_duration_seconds", "body")}),
        Panel("Retries and errors of expressions", "What the bodies call is unwell, or a manifest is wrong.", "ops",
              {"retries: {{reason}}": rate("flowweaver_task_retries_total", "reason"),
               "expressions": "sum(rate(flowweaver_expression_errors_total{OURS}[$__rate_interval]))"}),
        Panel("Workers", "Busy at the limit while tasks are ready: too few workers.", "none",
              {"workers": "sum(flowweaver_workers{OURS})", "busy": "sum(flowweaver_workers_busy{OURS})",
               "tasks ready": "sum(flowweaver_tasks_ready{OURS})"}),
        Panel("Time that tasks wait", "For a worker, or for room in their Workflow.", "s",
              quantiles("flowweaver_task_queue_wait_seconds")),
        Panel("Bodies given up", "Threads that have not returned. They must not pile up.", "none",
              {"abandoned": "sum(flowweaver_attempts_abandoned{OURS})"}),
        Panel("Recovered by the last start", "interrupted: the process died; else a volume was lost.", "none",
              {"{{action}}": "sum by (action) (flowweaver_recovered_tasks_total{OURS})"}),
    ),
    "State file": (
        Panel("Commits", "Each task waits for two of them.", "s",
              {**quantiles("flowweaver_store_commit_duration_seconds"),
               "99% are below": quantile(0.99, "flowweaver_store_commit_duration_seconds")}),
        Panel("Size", "A log that only grows: somebody keeps a read transaction open.", "bytes",
              {"state file": "max(flowweaver_store_database_bytes{OURS})",
               "its log": "max(flowweaver_store_wal_bytes{OURS})"}),
        Panel("Free on the volume", "At 0 nothing is started.", "bytes",
              {"free": "min(flowweaver_store_free_bytes{OURS})"}),
        Panel("Errors and backups", "full: make room; io, readonly: the volume; corrupt: restore.", "none",
              {"error: {{kind}}": "sum by (kind) (increase(flowweaver_store_errors_total{OURS}[$__rate_interval]))",
               "backup {{result}}": "sum by (result) (increase(flowweaver_backups_total{OURS}[$__rate_interval]))"}),
    ),
    "API server": (
        Panel("Status writes", "Coalesced: a change that went into a write that was waiting already.", "ops",
              {"{{result}}": rate("flowweaver_status_patches_total", "result"),
               "coalesced": "sum(rate(flowweaver_status_coalesced_total{OURS}[$__rate_interval]))"}),
        Panel("Status lag", "From a change to the write that shows it; a second or two are meant to be.", "s",
              {"95% are below": quantile(0.95, "flowweaver_status_lag_seconds"),
               "oldest that waits": "max(flowweaver_status_oldest_waiting_seconds{OURS})"}),
        Panel("Requests", "429 and 5xx: it is busy; 403: a right is missing.", "ops",
              {"{{method}} {{code}}": rate("rest_client_requests_total", "method, code")}),
        Panel("Time of a request", "95% are below.", "s",
              {"{{verb}}": quantile(0.95, "rest_client_request_duration_seconds", "verb")}),
        Panel("Queue", "Changes of Workflows that wait to be looked at.", "none",
              {"waiting": "sum(workqueue_depth{OURS})",
               "being looked at": "sum(controller_runtime_active_workers{OURS})"}),
        Panel("Time on the queue and of work", "95% are below.", "s",
              {"on the queue": quantile(0.95, "workqueue_queue_duration_seconds"),
               "work": quantile(0.95, "workqueue_work_duration_seconds")}),
        Panel("Reconciliations", "error: the log says why.", "ops",
              {"{{result}}": rate("controller_runtime_reconcile_total", "result")}),
        Panel("Watch", "Its age goes back to 0 at each event, and at each comparison every ten minutes.", "s",
              {"age": "max(flowweaver_watch_age_seconds{OURS})"}),
        Panel("Watch: failures and drift", "gone, unseen: what a comparison found that the watch had missed.", "none",
              {"restarts": "sum(increase(flowweaver_watch_restarts_total{OURS}[$__rate_interval])) or vector(0)",
               "{{kind}}": "sum by (kind) (increase(flowweaver_resync_drift_total{OURS}[$__rate_interval]))"}),
        Panel("Refused Workflows", "Somebody applies what is wrong, or what is not allowed here.", "none",
              {"{{reason}}": "sum by (reason) (increase(flowweaver_workflows_refused_total{OURS}[$__rate_interval]))"}),
        Panel("Events", "failed, dropped: some are missing; nothing else depends on them.", "ops",
              {"{{result}}": rate("flowweaver_events_posted_total", "result")}),
        Panel("What is known and what waits", "Workflows that the watch has shown; statuses to be written.", "none",
              {"workflows": "sum(flowweaver_objects{OURS})", "statuses": "sum(flowweaver_status_waiting{OURS})"}),
    ),
    "Process": (
        Panel("CPU", "Cores; bodies in threads are in it, those in processes of their own are not.", "none",
              {"cores": "sum(rate(process_cpu_seconds_total{OURS}[$__rate_interval]))"}),
        Panel("Memory", "Beside the limit of the container.", "bytes",
              {"resident": "max(process_resident_memory_bytes{OURS})"}),
        Panel("Sign of life of the engine", "Above a few seconds it hangs, or the machine is starved.", "s",
              {"age": "max(flowweaver_engine_heartbeat_age_seconds{OURS})"}),
        Panel("Starts", "How often the state file was opened: several an hour are a restart loop.", "none",
              {"starts": "max(flowweaver_store_openings{OURS})"}),
    ),
}  # fmt: skip


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": top}})
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > COLUMNS:
                left, top = 0, top + panel.height
            panels.append(_panel(panel, left, top))
            left += panel.width
        top += row[-1].height
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    return {
        "title": "FlowWeaver",
        "uid": "flowweaver",
        "tags": ["flowweaver", "workflows"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": panels,
    }


def _panel(panel: Panel, left: int, top: int) -> dict[str, Any]:
    steps = [{"color": colour, "value": value or None} for value, colour in panel.bad]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom"}}
    if panel.stat:
        options = {"colorMode": "value" if steps else "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.description,
        "gridPos": {"h": panel.height, "w": panel.width, "x": left, "y": top},
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression.replace("OURS", OURS), "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.lines.items())
        ],
    }


def _variables() -> list[dict[str, Any]]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    found = {"type": "query", "datasource": source, "refresh": 2, "sort": 1, "includeAll": True, "allValue": ".*"}
    every = {"text": "All", "value": "$__all"}
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {**found, "name": "namespace", "label": "Namespace", "current": every,
         "query": "label_values(flowweaver_build_info, namespace)"},
        {**found, "name": "job", "label": "Operator", "current": every,
         "query": 'label_values(flowweaver_build_info{namespace=~"$namespace"}, job)'},
    ]  # fmt: skip


def main(arguments: list[str]) -> int:
    """Gives the exit status."""
    text = json.dumps(dashboard(), indent=1) + "\n"
    if arguments == ["--check"]:
        drifted = not OUTPUT.is_file() or OUTPUT.read_text() != text
        sys.stdout.write(f"the dashboard: {'run' if drifted else 'as it comes from'} hack/dashboard.py\n")
        return int(drifted)
    OUTPUT.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
