"""What it costs to import the library: no more than what is asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import flowweaver

HEAVY = {"asyncio", "pydantic", "pydantic_core", "kubernetes", "kopf", "aiohttp", "prometheus_client", "httpx", "yaml"}
USUAL = (
    "Task, TaskStatus, Workflow, WorkflowStatus, task, RetryPolicy, ThreadedExecutor, AsyncExecutor, SQLiteStateStore"
)


def loaded_by(program: str) -> set[str]:
    """The top modules that another Python has loaded after that."""
    command = [sys.executable, "-S", "-c", f"import sys, json; sys.path[:0] = {sys.path!r}\n{program}\n"]
    command[-1] += "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(ended.stdout))


@pytest.mark.parametrize(
    "program", ["import flowweaver", f"from flowweaver import {USUAL}", "from flowweaver import *"]
)
def test_importing_loads_nothing_heavy(program):
    assert loaded_by(program) & HEAVY == set()


def test_executing_in_threads_with_a_file_loads_no_event_loop_and_no_models(tmp_path):
    program = (
        "from flowweaver import *\n"
        "workflow = Workflow('w')\n"
        "workflow.add_task(Task('a', lambda: 1))\n"
        "workflow.add_task(Task('b', lambda a: a + 1), ['a'])\n"
        f"ThreadedExecutor(state_store=SQLiteStateStore({str(tmp_path / 'state.db')!r})).execute(workflow)\n"
        "assert workflow.get_task_result('b') == 2\n"
    )
    assert loaded_by(program) & HEAVY == set()


def test_every_public_name_is_there_and_no_other():
    assert sorted(flowweaver.__all__) == flowweaver.__all__
    for name in flowweaver.__all__:
        assert getattr(flowweaver, name) is not None
        assert name in dir(flowweaver)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        flowweaver.Nonsense  # noqa: B018 - it is asked for
