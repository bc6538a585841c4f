"""The health check for Argo CD says of each state of a Workflow what the docs say, as Lua 5.1 understands it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from flowweaver.operator.conditions import PHASES, Standing, conditions
from tests.docs.blocks import of

SHOWN = {
    Standing.INVALID: "Degraded",
    Standing.PENDING: "Progressing",
    Standing.RUNNING: "Progressing",
    Standing.SUSPENDED: "Suspended",
    Standing.COMPLETED: "Healthy",
    Standing.FAILED: "Degraded",
    Standing.CANCELLED: "Degraded",
    Standing.STATE_LOST: "Degraded",
}


@pytest.fixture
def lua() -> str:
    found = shutil.which("lua5.1")
    if found is None and os.environ.get("CI", "").lower() not in {"1", "true"}:
        pytest.skip("there is no lua5.1 here; on Debian and Ubuntu: apt install lua5.1")
    assert found, "there is no lua5.1"
    return found


def literal(value: object) -> str:
    """The value in Lua."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{literal(name)}] = {literal(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(literal(each) for each in value) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def health(lua: str, workflow: Mapping[str, Any]) -> list[str]:
    """The status and the message that Argo CD would show."""
    (block,) = of("lua")
    program = f"obj = {literal(workflow)}\nlocal function check()\n{block.text}\nend\nlocal found = check()\n"
    told = subprocess.run(
        [lua, "-e", program + "print(found.status)\nprint(found.message)"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


def workflow(standing: Standing, generation: int = 2) -> dict[str, Any]:
    said = conditions(standing, reason="TaskFailed", message="what is wrong", generation=2, previous=(), now=0.0)
    status = {"observedGeneration": 2, "phase": PHASES[standing], "progress": "1/3", "conditions": said}
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize("standing", Standing)
def test_each_state_of_a_workflow_has_its_health(lua, standing):
    status, message = health(lua, workflow(standing))

    assert status == SHOWN[standing]
    assert message


def test_a_failure_is_shown_with_its_reason(lua):
    assert health(lua, workflow(Standing.FAILED)) == ["Degraded", "TaskFailed: what is wrong"]


@pytest.mark.parametrize(
    "unseen", [{"metadata": {"generation": 1}}, workflow(Standing.COMPLETED, generation=3)], ids=["new", "edited"]
)
def test_what_nobody_has_looked_at_is_in_progress(lua, unseen):
    assert health(lua, unseen)[0] == "Progressing"
