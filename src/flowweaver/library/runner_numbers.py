"""What the port of a `WorkflowRunner` answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from flowweaver.library.runner_http import METRICS_TYPE, TEXT_TYPE, Answer, Metric, exposition
from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from flowweaver.library.runner import Life
    from flowweaver.library.workflow import Workflow


def answers(workflow: Workflow, life: Life, attempts: Counter[str]) -> Mapping[str, Callable[[], Answer]]:
    """By path. `attempts` that ended are counted by what their tasks came to."""

    def health() -> Answer:
        if life.goes_on:
            return Answer(200, TEXT_TYPE, "ok\n")
        return Answer(503, TEXT_TYPE, "the engine has stopped, or does not move\n")

    def metrics() -> Answer:
        return Answer(200, METRICS_TYPE, exposition(_numbers(workflow, life, attempts.copy())))

    return {"/health": health, "/healthz": health, "/metrics": metrics}


def _numbers(workflow: Workflow, life: Life, attempts: Counter[str]) -> list[Metric]:
    from flowweaver import __version__

    health = life.health
    tasks = dict.fromkeys(TaskStatus, 0)
    for task in workflow.tasks.values():
        tasks[task.status] += 1
    return [
        Metric("flowweaver_build_info", "gauge", "Which FlowWeaver this is.", [({"version": __version__}, 1)]),
        Metric("flowweaver_up_since_seconds", "gauge", "When it was started.", [({}, life.since)]),
        Metric(
            "flowweaver_tasks",
            "gauge",
            "Tasks of the workflow, by where they stand.",
            [({"status": status.value}, count) for status, count in tasks.items()],
        ),
        Metric(
            "flowweaver_task_attempts_total",
            "counter",
            "Attempts that ended, by what the task came to.",
            [({"outcome": outcome}, attempts[outcome]) for outcome in sorted(attempts)],
        ),
        Metric("flowweaver_running_attempts", "gauge", "Attempts that are running.", [({}, health.running)]),
        Metric("flowweaver_commits_total", "counter", "Transactions.", [({}, health.commits)]),
        Metric(
            "flowweaver_store_writable",
            "gauge",
            "0: the store can not be written now, and is tried again.",
            [({}, int(not health.store_error))],
        ),
    ]
