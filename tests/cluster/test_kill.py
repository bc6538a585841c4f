"""`kill -9` of the operator, again and again: what was recorded stays, and only what was running is repeated."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import condition, finish, status_of, workflow

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]

TASKS, LANES, KILLS = 320, 4, 30  # more tasks than thirty lives are enough for
LONGEST_DELAY_SECONDS = 0.35  # of a kill, after a life's first body: short enough for thirty kills in one workflow


def read(state: Path, query: str) -> list[tuple[Any, ...]]:
    """What the store answers, beside a living engine or after it was killed; changes nothing."""
    connection = apsw.Connection(str(state), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(query))
    finally:
        connection.close()


def completed(state: Path) -> set[str]:
    return {name for (name,) in read(state, "SELECT task_name FROM tasks WHERE status = 'completed'")}


def was_hit_twice(state: Path) -> bool:
    """Whether one more kill would be the third death in the starts of one task: then it fails, as it should."""
    query = "SELECT 1 FROM task_runs WHERE crashes >= 2 AND status IN ('pending', 'running')"
    return bool(read(state, query))


def test_thirty_kills_in_one_workflow_lose_nothing_and_repeat_only_what_was_running(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    seed = int(os.environ.get("FLOWWEAVER_SEED", random.SystemRandom().randrange(2**32)))
    chance = random.Random(seed)
    measured(f"kills: seed {seed} (FLOWWEAVER_SEED={seed} draws the same delays again)")
    ran = tmp_path / "ran"
    ran.touch()
    victim = operator(unsafeBodies=["shell"], workers=LANES)
    kubectl.apply(
        workflow(
            "killed",
            *(
                {
                    "name": f"task-{index}",
                    **({"dependsOn": [f"task-{index - LANES}"]} if index >= LANES else {}),
                    "shell": {"script": f"echo task-{index} >> {ran}; sleep 0.1"},
                }
                for index in range(TASKS)
            ),
        )
    )

    kept: list[tuple[int, set[str]]] = []  # for each kill: how long the file was, what the store held as completed
    with_running, lives = 0, []
    lines_before, killed_at = 0, 0.0
    for _ in range(KILLS):
        await_true("a body starts", lambda before=lines_before: len(lines_of(ran)) > before, every_seconds=0.005)
        time.sleep(chance.uniform(0, LONGEST_DELAY_SECONDS))
        await_true("no task is about to die for the third time", lambda: not was_hit_twice(victim.state))
        victim.kill()
        killed_before, killed_at = killed_at, time.time()
        with_running += bool(read(victim.state, "SELECT 1 FROM attempts WHERE status = 'running'"))
        lives.append(killed_at - first_start(victim.state, after=killed_before))
        lines_before = len(lines_of(ran))
        kept.append((lines_before, completed(victim.state)))
        victim.start(ready=False)

    status = finish(kubectl, "killed", seconds=300)
    lines = lines_of(ran)
    measured(
        f"kills: {with_running} of {KILLS} with an attempt running, {len(lines)} bodies for {TASKS} tasks, "
        f"the longest life {max(lives):.2f} s after its first start"
    )
    assert (status["phase"], status["progress"]) == ("Completed", f"{TASKS}/{TASKS}")
    assert set(lines) == {f"task-{index}" for index in range(TASKS)}
    assert len(lines) <= TASKS + KILLS * LANES
    for length, held in kept:
        assert not held & set(lines[length:]), "what the store held as completed ran again"
    assert with_running >= 25
    assert max(lives) <= 1.5


def lines_of(file: Path) -> list[str]:
    return file.read_text().split()


def first_start(state: Path, after: float) -> float:
    ((started_at,),) = read(state, f"SELECT min(started_at) FROM attempts WHERE started_at > {after!r}")
    return float(started_at)


def test_a_body_that_kills_its_process_fails_after_three_starts_and_the_others_complete(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    victim = operator(unsafeBodies=["shell", "python.source", "thread"], workers=4)
    deadly = {"isolation": "Thread", "source": "import os\n\ndef main():\n    os.kill(os.getpid(), 9)\n"}
    slow = [{"name": f"step-{n}", "shell": {"script": "sleep 0.2"}} for n in range(4)]
    others = [f"other-{number}" for number in range(10)]
    kubectl.apply(
        *(workflow(name, *slow) for name in others[:5]),
        workflow("deadly", {"name": "kills", "python": deadly}),
        *(workflow(name, *slow) for name in others[5:]),
    )

    def is_finished() -> bool:
        if not victim.running:  # what a pod's kubelet does
            victim.kill()
            victim.start(ready=False)
        return condition(status_of(kubectl, "deadly"), "Finished")[0] == "True"

    await_true("it has finished", is_finished, seconds=100, every_seconds=0.2)
    assert {name: finish(kubectl, name)["phase"] for name in others} == dict.fromkeys(others, "Completed")
    status = status_of(kubectl, "deadly")
    (task,) = status["tasks"]
    assert (status["phase"], task["phase"], task["reason"], task["attempts"]) == ("Failed", "Failed", "CrashLoop", 3)
