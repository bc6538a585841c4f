"""What takes minutes, or many Workflows, to show."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import Access
from tests.cluster.faults import WATCHES, FaultProxy
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import HELLO, LONG, is_gone
from tests.cluster.test_operator_volumes import is_stalled_by_loss, wipe
from tests.cluster.workflows import await_phase, condition, finish, status_of, workflow

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]


def finished_tasks(status: dict[str, object]) -> int:
    return int(str(status.get("progress", "0/0")).split("/")[0])


def test_the_api_server_may_be_away_for_two_minutes_in_the_middle_of_a_run(
    operator: Callable[..., Operator],
    kubectl: Kubectl,
    control_plane: Access,
    tmp_path: Path,
    measured: Callable[[str], None],
) -> None:
    ran, tasks = tmp_path / "ran", 170
    ran.touch()
    steps = [
        {
            "name": f"task-{index}",
            **({"dependsOn": [f"task-{index - 1}"]} if index else {}),
            "shell": {"script": f"date +%s.%N >> {ran}; sleep 0.8"},
        }
        for index in range(tasks)
    ]
    with FaultProxy(control_plane) as proxy:
        operator(api=proxy.url, unsafeBodies=["shell"])
        kubectl.apply(workflow("through", *steps))
        await_true("five have started", lambda: len(ran.read_text().split()) >= 5)
        with proxy.away():
            gone_at = time.monotonic()
            before = finished_tasks(status_of(kubectl, "through"))
            await_true("two minutes are over", lambda: time.monotonic() - gone_at >= 120, seconds=130, every_seconds=1)
            done = len(ran.read_text().split()) - 1
            assert done > before + 30, "the run went on"
        back_at = time.monotonic()
        await_true(
            "the status has caught up",
            lambda: finished_tasks(status_of(kubectl, "through")) >= done,
            seconds=30,
            every_seconds=0.1,
        )
        caught_up = time.monotonic() - back_at
        status = finish(kubectl, "through", seconds=200)
    assert (status["phase"], status["progress"]) == ("Completed", f"{tasks}/{tasks}")
    starts = [float(line) for line in ran.read_text().split()]
    assert len(starts) == tasks
    longest = max(after - start for start, after in itertools.pairwise(starts))
    measured(
        f"API server away for 120 s: the status caught up {caught_up:.1f} s after it was back; "
        f"the longest time between two starts of tasks of 0.8 s was {longest:.1f} s"
    )
    assert longest < 20, "the run never stopped"
    assert caught_up <= 5


def test_a_workflow_runs_that_was_applied_while_the_watch_was_silent(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, measured: Callable[[str], None]
) -> None:
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url)
        kubectl.apply(workflow("before", HELLO), workflow("doomed", LONG))
        assert finish(kubectl, "before")["phase"] == "Completed"
        await_phase(kubectl, "doomed", "Running")
        await_true("it watches", lambda: proxy.open_requests(WATCHES) == 1)
        assert proxy.stall() == 1
        stalled_at = time.monotonic()
        kubectl.apply(workflow("meanwhile", HELLO))
        kubectl("delete", "fw", "doomed", "--wait=false")
        assert finish(kubectl, "meanwhile", seconds=150)["phase"] == "Completed"
        measured(f"a watch without a byte: the next workflow ran {time.monotonic() - stalled_at:.0f} s after")
        await_true("the deleted one is let go", lambda: is_gone(kubectl, "doomed"))
        assert "the watch has ended" not in running.output()


def statuses(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """Of every Workflow, in one question: one for each of many takes a slow machine minutes."""
    return {found["metadata"]["name"]: found.get("status", {}) for found in kubectl.json("get", "fw")["items"]}


def test_a_wiped_volume_with_fifty_finished_and_five_running_workflows_runs_no_body(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    ran, go = tmp_path / "ran", tmp_path / "go"
    running = operator(unsafeBodies=["shell"], workers=8)
    note = f"echo $FLOWWEAVER_TASK >> {ran}"
    history = {f"history-{number}" for number in range(50)}
    lost = {f"lost-{number}" for number in range(5)}

    def are(names: set[str], phase: str) -> bool:
        found = statuses(kubectl)
        return {found[name].get("phase") for name in names} == {phase}

    kubectl.apply(*(workflow(name, {"name": name, "shell": {"script": note}}) for name in sorted(history)))
    await_true("fifty have completed", lambda: are(history, "Completed"), seconds=180, every_seconds=0.5)
    waits = f"{note}; until test -e {go}; do sleep 0.1; done"
    kubectl.apply(*(workflow(name, {"name": name, "shell": {"script": waits}}) for name in sorted(lost)))
    await_true("five run", lambda: are(lost, "Running"), seconds=120, every_seconds=0.5)
    await_true("every body has run", lambda: len(ran.read_text().split()) == 55)

    running.kill()
    wipe(running)
    running.start()
    await_true(
        "the five say StateLost",
        lambda: {name for name, status in statuses(kubectl).items() if is_stalled_by_loss(status)} == lost,
        seconds=120,
        every_seconds=0.5,
    )
    assert sorted(ran.read_text().split()) == sorted(history | lost)
    assert {condition(statuses(kubectl)[name], "Succeeded")[0] for name in history} == {"True"}

    go.touch()
    for name in sorted(lost):
        kubectl("patch", "fw", name, "--type=merge", "--patch", '{"spec": {"rerun": "again"}}')
    await_true("the five have completed", lambda: are(lost, "Completed"), seconds=120, every_seconds=0.5)
    assert sorted(ran.read_text().split()) == sorted([*history, *lost, *lost])
