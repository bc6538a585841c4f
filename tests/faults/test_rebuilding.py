"""A volume that is lost: what has completed is known from the Workflows' status, and does not run again."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import edit
from tests.cluster.workflows import condition, events_of, finish, status_of, workflow
from tests.faults.bodies import Bodies

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]


def completed(kubectl: Kubectl) -> list[str]:
    """The tasks of all Workflows that are reported as completed, as "workflow/task"."""
    return [
        f"{found['metadata']['name']}/{each['name']}"
        for found in kubectl.json("get", "workflows.flowweaver.io")["items"]
        for each in found["status"].get("tasks", [])
        if each["phase"] == "Completed"
    ]


def lose_its_volume(running: Operator, **environment: str) -> None:
    if running.running:
        running.kill()
    for found in running.state.parent.glob(f"{running.state.name}*"):
        found.unlink()
    running.environment |= environment
    running.start()


def is_lost(kubectl: Kubectl, name: str) -> bool:
    return condition(status_of(kubectl, name), "Stalled") == ("True", "StateLost")


def await_phases(kubectl: Kubectl, name: str, **wanted: str) -> None:
    def told() -> dict[str, str]:
        return {each["name"]: each["phase"] for each in status_of(kubectl, name).get("tasks", [])}

    await_true(f"{name} reports {wanted}", lambda: told().items() >= wanted.items(), every_seconds=0.2)


def reasons(kubectl: Kubectl, name: str) -> dict[str, str]:
    return {each["name"]: each.get("reason", "") for each in status_of(kubectl, name)["tasks"]}


def test_what_has_completed_is_rebuilt_from_the_status_and_only_the_rest_runs(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    tasks = bodies.task("a"), bodies.task("b", "a"), bodies.task("c", "b"), bodies.task("d", "c")
    kubectl.apply(workflow("chain", *tasks))
    bodies.go("a", "b")
    await_phases(kubectl, "chain", b="Completed", c="Running")
    lose_its_volume(running)
    await_true("it is held", lambda: is_lost(kubectl, "chain"))
    message = status_of(kubectl, "chain")["message"]
    assert "of 4 tasks 2 are known to have completed, and are kept" in message
    assert "these were under way, and run again whether they have ended or not: c" in message
    assert bodies.ran() == ["a", "b", "c"]

    edit(kubectl, "chain", rerun="go on")
    bodies.go("c", "d")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran() == ["a", "b", "c", "c", "d"]
    assert reasons(kubectl, "chain") == {"a": "RebuiltFromStatus", "b": "RebuiltFromStatus", "c": "", "d": ""}
    await_true("an Event tells of it", lambda: "StateRebuilt" in events_of(kubectl, "chain"))
    assert 'flowweaver_recovered_tasks_total{action="rebuilt"} 2.0' in running.get("/metrics").text


def test_a_completed_task_whose_result_is_needed_runs_again_only_where_its_user_allows_it(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    tasks = bodies.task("a"), bodies.task("b", "a", prints="echo 7"), bodies.task("gate", "b")
    strict = workflow("sum", *tasks, {"name": "all", "dependsOn": ["gate"], "value": "${tasks.b.result}"})
    strict["metadata"]["annotations"] = {"flowweaver.io/recover": "Strict"}
    kubectl.apply(strict)
    bodies.go("a", "b")
    await_phases(kubectl, "sum", b="Completed", gate="Running")
    lose_its_volume(running)
    await_true("it is held", lambda: is_lost(kubectl, "sum"))
    again = "these completed too, and run again because their results are needed: b"
    assert again in status_of(kubectl, "sum")["message"]

    edit(kubectl, "sum", rerun="first try")
    await_true("it says why", lambda: "forbids to run again" in status_of(kubectl, "sum")["message"])
    assert is_lost(kubectl, "sum")
    assert bodies.ran() == ["a", "b", "gate"]

    kubectl("annotate", "fw", "sum", "flowweaver.io/recover=Rebuild", "--overwrite")
    edit(kubectl, "sum", rerun="second try")
    bodies.go("gate")
    assert finish(kubectl, "sum")["phase"] == "Completed"
    assert sorted(bodies.ran()) == ["a", "b", "b", "gate", "gate"]


def test_an_administrator_may_let_all_go_on_from_their_status_and_a_user_may_begin_anew(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    restart = workflow("restart", bodies.task("x"), bodies.task("y", "x"))
    restart["metadata"]["annotations"] = {"flowweaver.io/recover": "Restart"}
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a")), restart)
    bodies.go("a", "x")
    await_phases(kubectl, "chain", a="Completed", b="Running")
    await_phases(kubectl, "restart", x="Completed", y="Running")
    bodies.go("b", "y")
    lose_its_volume(running, FLOWWEAVER_ADOPT="true")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert finish(kubectl, "restart")["phase"] == "Completed"
    ran = bodies.ran()
    assert (ran.count("a"), ran.count("x")) == (1, 2)
    assert 'flowweaver_recovered_tasks_total{action="adopted"} 3.0' in running.get("/metrics").text


def test_no_task_that_was_reported_as_completed_runs_again_whatever_was_under_way(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    running = operator(unsafeBodies=["shell"], workers=8)
    seed = int.from_bytes(os.urandom(4))
    dice, ran = random.Random(seed), tmp_path / "ran"
    flows = {f"load-{number}": _some_tasks(f"load-{number}", ran, dice) for number in range(6)}
    kubectl.apply(*(workflow(name, *tasks) for name, tasks in flows.items()))
    await_true("a quarter of it is reported", lambda: len(completed(kubectl)) > 30)
    running.kill()
    reported = completed(kubectl)
    lose_its_volume(running, FLOWWEAVER_ADOPT="true")
    for name in flows:
        assert finish(kubectl, name)["phase"] == "Completed"
    times = Counter(ran.read_text().split())
    assert len(times) == sum(map(len, flows.values()))
    again = {task: times[task] for task in reported if times[task] > 1}
    assert not again, f"reported as completed, and run again; seed {seed}"
    repeated = sum(times.values()) - len(times)
    measured(f"lost volume: {len(reported)} tasks reported and kept, {repeated} run again, seed {seed}")


def _some_tasks(flow: str, ran: Path, dice: random.Random) -> list[dict[str, object]]:
    return [
        {
            "name": f"t{number}",
            "dependsOn": [f"t{each}" for each in dice.sample(range(number), min(number, 2))],
            "shell": {"script": f"echo {flow}/t{number} >> {ran}; sleep {2 * dice.random():.2f}"},
        }
        for number in range(20)
    ]


def test_a_failed_workflow_of_a_lost_volume_keeps_what_completed_when_it_is_run_again(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("failed", bodies.task("a"), bodies.task("b", "a", prints="exit 3")))
    bodies.go("a", "b")
    assert finish(kubectl, "failed")["phase"] == "Failed"
    lose_its_volume(running)
    edit(kubectl, "failed", rerun="again")
    await_true("b runs again", lambda: bodies.ran() == ["a", "b", "b"])
