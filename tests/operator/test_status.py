"""The status: everything that was promised, bounded whatever the workflow does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.manifest.problems import Problem
from flowweaver.operator.conditions import TYPES, Standing
from flowweaver.operator.status import (
    ACTIVE_BYTES,
    FINISHED_BYTES,
    Context,
    duration_text,
    status_of_history,
    status_of_loss,
    status_of_refusal,
    status_of_run,
)
from flowweaver.ports import RunName, RunSnapshot, StorePosition

POSITION = StorePosition("ours", 3, 918)
CONTEXT = Context(generation=4, observed_rerun="one", now=1_000.0)
NOON = 1_767_268_800.0  # 2026-01-01T12:00:00Z


def snapshot(head: RunHead, *states: TaskState, internal: bool = False, **changed) -> RunSnapshot:
    tasks = tuple(TaskPlan(name=f"t{place}", kind="value") for place in range(len(states)))
    if internal:
        tasks = (*tasks[:-1], TaskPlan(name="(outputs)", kind="outputs", internal=True))
    found = RunSnapshot(
        key=1, name=RunName("shop/etl", "u1"), plan=RunPlan(tasks=tasks), head=head, tasks=states, position=POSITION
    )
    return replace(found, **changed)


def size(status: object) -> int:
    return len(json.dumps(status, ensure_ascii=False, separators=(",", ":")).encode())


def test_a_running_workflow_says_what_was_promised():
    head = RunHead(phase=RunPhase.RUNNING, created_at=NOON, started_at=NOON + 0.25)
    done = TaskState(phase=TaskPhase.COMPLETED, attempts=2, started_at=NOON + 0.25, finished_at=NOON + 1)
    waits = TaskState(phase=TaskPhase.WAITING, attempts=1, reason="Backoff", message="refused", started_at=NOON + 1)
    status = status_of_run(snapshot(head, done, waits), CONTEXT)
    conditions = status.pop("conditions")
    assert status == {
        "observedGeneration": 4,
        "observedRerun": "one",
        "phase": "Running",
        "progress": "1/2",
        "startedAt": "2026-01-01T12:00:00.250Z",
        "counts": {
            "pending": 0, "running": 0, "waiting": 1, "completed": 1, "failed": 0, "skipped": 0, "cancelled": 0,
        },
        "overhead": {"queuedMilliseconds": 250},
        "store": {"id": "ours", "epoch": 3, "sequence": 918},
        "tasks": [
            {
                "name": "t0",
                "phase": "Completed",
                "attempts": 2,
                "startedAt": "2026-01-01T12:00:00.250Z",
                "finishedAt": "2026-01-01T12:00:01.000Z",
            },
            {
                "name": "t1",
                "phase": "Waiting",
                "reason": "Backoff",
                "attempts": 1,
                "startedAt": "2026-01-01T12:00:01.000Z",
                "message": "refused",
            },
        ],
        "tasksTruncated": 0,
    }  # fmt: skip
    assert [found["type"] for found in conditions] == list(TYPES)


def test_a_finished_workflow_shows_outputs_times_and_what_the_engine_took_and_hides_internal_tasks():
    head = RunHead(phase=RunPhase.COMPLETED, created_at=NOON, started_at=NOON + 1, finished_at=NOON + 4)
    first = TaskState(phase=TaskPhase.COMPLETED, started_at=NOON + 1, finished_at=NOON + 2)
    second = TaskState(phase=TaskPhase.COMPLETED, started_at=NOON + 2.5, finished_at=NOON + 3.75)
    outputs = {"rows": 3, "nothing": None}
    run = snapshot(head, first, second, TaskState(phase=TaskPhase.COMPLETED), internal=True, outputs=outputs)
    status = status_of_run(run, CONTEXT)
    assert [task["name"] for task in status["tasks"]] == ["t0", "t1"]
    assert (status["progress"], status["counts"]["completed"]) == ("2/2", 2)
    assert status["outputs"] == [{"name": "rows", "value": 3}, {"name": "nothing", "value": None}]
    assert (status["finishedAt"], status["durationMilliseconds"]) == ("2026-01-01T12:00:04.000Z", 3000)
    assert status["duration"] == "3.0s"
    assert status["overhead"] == {"queuedMilliseconds": 1000, "engineMilliseconds": 750}


@pytest.mark.parametrize(("phase", "limit"), [(RunPhase.RUNNING, ACTIVE_BYTES), (RunPhase.FAILED, FINISHED_BYTES)])
def test_a_status_stays_in_its_bounds_and_shows_failures_and_running_tasks_first(phase, limit):
    long = {"message": "ü" * 100_000, "started_at": NOON, "finished_at": NOON}
    states = [TaskState(phase=TaskPhase.COMPLETED, **long)] * 1500
    states[700] = TaskState(phase=TaskPhase.FAILED, **long)
    states[900] = TaskState(phase=TaskPhase.RUNNING, started_at=NOON)
    head = RunHead(phase=phase, message="m" * 100_000, created_at=NOON, started_at=NOON, finished_at=NOON)
    status = status_of_run(snapshot(head, *states, outputs={"large": "x" * 500_000, "small": 1}), CONTEXT)
    assert size(status) <= limit
    names = [task["name"] for task in status["tasks"]]
    assert {"t700", "t900"} <= set(names)
    assert len(names) + status["tasksTruncated"] == 1500
    assert names == sorted(names, key=lambda name: int(name[1:]))
    assert status["counts"]["completed"] == 1498
    assert status["outputs"] == [{"name": "small", "value": 1}]


def test_a_status_shrinks_to_what_the_api_server_takes():
    states = [TaskState(phase=TaskPhase.COMPLETED, started_at=NOON, finished_at=NOON)] * 1000
    head = RunHead(phase=RunPhase.RUNNING, created_at=NOON, started_at=NOON)
    status = status_of_run(snapshot(head, *states), CONTEXT, limit_bytes=8 * 1024)
    assert size(status) <= 8 * 1024
    assert 0 < len(status["tasks"]) < 1000


def test_outputs_that_do_not_fit_are_named():
    head = RunHead(phase=RunPhase.COMPLETED, created_at=NOON, started_at=NOON, finished_at=NOON)
    run = snapshot(head, TaskState(phase=TaskPhase.COMPLETED), outputs={"large": "x" * 500_000})
    status = status_of_run(run, CONTEXT)
    assert "outputs" not in status
    assert "large" in status["message"]


def test_the_epoch_that_is_reported_never_falls():
    head = RunHead(phase=RunPhase.RUNNING, created_at=NOON)
    status = status_of_run(snapshot(head), replace(CONTEXT, least_epoch=7))
    assert status["store"]["epoch"] == 7


def test_a_refusal_names_every_problem_and_keeps_the_store_that_was_reported():
    problems = tuple(Problem("UnknownDependency", f"spec.tasks[{place}]", "there is none") for place in range(12))
    status = status_of_refusal(problems, CONTEXT, POSITION)
    conditions = {found["type"]: found for found in status["conditions"]}
    assert status["phase"] == "Failed"
    assert (conditions["Accepted"]["status"], conditions["Accepted"]["reason"]) == ("False", "UnknownDependency")
    assert conditions["Accepted"]["message"].startswith("spec.tasks[0]: there is none; spec.tasks[1]")
    assert conditions["Accepted"]["message"].endswith("and 2 more")
    assert conditions["Finished"]["reason"] == "Invalid"
    assert status["store"] == {"id": "ours", "epoch": 3, "sequence": 918}


def test_a_loss_keeps_what_was_shown_and_says_that_it_goes_no_further():
    shown = {"phase": "Running", "startedAt": "2026-01-01T12:00:00Z", "store": {"id": "theirs", "epoch": 9}}
    status = status_of_loss(shown, "gone", CONTEXT)
    conditions = {found["type"]: (found["status"], found["reason"]) for found in status["conditions"]}
    assert status["startedAt"] == shown["startedAt"]
    assert status["store"] == shown["store"]
    assert (status["phase"], status["message"], status["observedGeneration"]) == ("Suspended", "gone", 4)
    assert conditions["Stalled"] == ("True", "StateLost")
    assert conditions["Finished"] == ("False", "StateLost")


def test_history_stays_as_it_was_but_for_what_was_observed():
    shown = {"phase": "Completed", "conditions": [{"type": "Finished", "status": "True", "observedGeneration": 1}]}
    assert status_of_history(shown, CONTEXT) == {
        "phase": "Completed",
        "observedGeneration": 4,
        "observedRerun": "one",
        "conditions": [{"type": "Finished", "status": "True", "observedGeneration": 4}],
    }


def test_every_phase_of_a_run_has_a_standing():
    assert {phase.value for phase in RunPhase} <= {standing.value for standing in Standing}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.02, "20ms"),
        (1.04, "1.0s"),
        (9.99, "10.0s"),
        (95.7, "95s"),
        (120, "2m"),
        (725, "12m5s"),
        (12_000, "3h20m"),
        (7_200, "2h"),
        (187_200, "2d4h"),
    ],
)
def test_a_duration_is_told_as_kubectl_tells_an_age(seconds, text):
    assert duration_text(seconds) == text
