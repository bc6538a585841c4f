"""Every public name of 0.2.2, and what could be passed to it."""

from __future__ import annotations

import abc
import enum
import inspect
from importlib.util import find_spec
from pathlib import Path

import pytest

import flowweaver

NAMES = [
    "AsyncExecutor",
    "BaseExecutor",
    "BaseStateStore",
    "InMemoryStateBackend",
    "JSONStateStore",
    "SQLiteStateStore",
    "SequentialExecutor",
    "StateBackend",
    "Task",
    "TaskStatus",
    "ThreadedExecutor",
    "Workflow",
    "export_mermaid",
    "save_mermaid",
    "task",
    "view_mermaid",
]

REQUIRED = inspect.Parameter.empty
# What may be passed by position, in this order, and the default of each.
SIGNATURES = {
    "Task": {
        "name": REQUIRED,
        "fn": REQUIRED,
        "retries": 0,
        "timeout": None,
        "status": flowweaver.TaskStatus.PENDING,
        "result": None,
        "error": None,
        "on_status_change": None,
        "on_retry": None,
        "started_at": None,
        "completed_at": None,
    },
    "Task.is_async": {},
    "Task.execute": {"context": None},
    "Task.execute_async": {"context": None},
    "Workflow": {"name": "Workflow"},
    "Workflow.add_task": {"task": REQUIRED, "depends_on": None},
    "Workflow.get_task": {"task_name": REQUIRED},
    "Workflow.get_dependencies": {"task_name": REQUIRED},
    "Workflow.get_task_dependencies": {"task_name": REQUIRED},
    "Workflow.get_all_tasks": {},
    "Workflow.get_execution_plan": {},
    "Workflow.execute_async": {},
    "Workflow.get_task_status": {"task_name": REQUIRED},
    "Workflow.get_task_result": {"task_name": REQUIRED},
    "Workflow.get_workflow_stats": {},
    "task": {"name": None, "retries": 0, "timeout": None, "on_status_change": None, "on_retry": None},
    "BaseExecutor": {"storage": None},
    "BaseExecutor.execute": {"workflow": REQUIRED},
    "SequentialExecutor": {"storage": None},
    "SequentialExecutor.execute": {"workflow": REQUIRED},
    "ThreadedExecutor": {"max_workers": 4, "storage": None},
    "ThreadedExecutor.execute": {"workflow": REQUIRED},
    "AsyncExecutor": {"use_uvloop": False, "storage": None},
    "AsyncExecutor.execute": {"workflow": REQUIRED},
    "InMemoryStateBackend": {},
    "InMemoryStateBackend.load_task_state": {"task_name": REQUIRED},
    "InMemoryStateBackend.clear": {},
    "JSONStateStore": {"file_path": "workflow_state.json"},
    "SQLiteStateStore": {"db_path": "workflow_state.db"},
    "SQLiteStateStore.query_task_history": {"task_name": REQUIRED, "limit": 100},
    "export_mermaid": {"workflow": REQUIRED, "orientation": "TD"},
    "save_mermaid": {"workflow": REQUIRED, "filepath": REQUIRED, "orientation": "TD"},
    "view_mermaid": {"workflow": REQUIRED, "orientation": "TD"},
}
SIGNATURES |= {
    f"{store}.{method}": parameters
    for store in ("BaseStateStore", "JSONStateStore", "SQLiteStateStore")
    for method, parameters in {
        "save_task_state": {
            "task_name": REQUIRED,
            "status": REQUIRED,
            "result": None,
            "error": None,
            "timestamp": None,
        },
        "load_task_state": {"task_name": REQUIRED},
        "clear_task_state": {"task_name": REQUIRED},
        "clear_all_states": {},
        "list_task_states": {},
        "load_state": {"workflow": REQUIRED},
        "save_state": {"workflow": REQUIRED},
    }.items()
}

ABSTRACT = {
    "StateBackend": {"save_task_state", "load_task_state", "clear"},
    "BaseExecutor": {"execute"},
    "BaseStateStore": {
        "save_task_state",
        "load_task_state",
        "clear_task_state",
        "clear_all_states",
        "list_task_states",
        "load_state",
        "save_state",
    },
}


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_there_and_is_said_to_be_public(name):
    assert callable(getattr(flowweaver, name))
    assert name in flowweaver.__all__
    assert name in dir(flowweaver)


def test_a_star_import_brings_them_all():
    found = {}
    exec("from flowweaver import *", found)

    assert set(NAMES) <= set(found)


def test_the_page_gets_its_diagrams_from_a_module_of_their_own():
    from flowweaver import utils

    assert utils.export_mermaid is flowweaver.export_mermaid
    assert utils.save_mermaid is flowweaver.save_mermaid
    assert utils.view_mermaid is flowweaver.view_mermaid


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("core", ["InMemoryStateBackend", "StateBackend", "Task", "TaskStatus", "Workflow", "task"]),
        ("executors", ["AsyncExecutor", "BaseExecutor", "SequentialExecutor", "ThreadedExecutor"]),
        ("storage", ["BaseStateStore", "JSONStateStore", "SQLiteStateStore"]),
    ],
)
def test_programs_that_import_from_the_modules_find_the_same_there(module, names):
    found = {}
    exec(f"from flowweaver.{module} import {', '.join(names)}", found)

    assert all(found[name] is getattr(flowweaver, name) for name in names)


def test_it_says_which_version_it_is_and_that_it_is_typed():
    assert flowweaver.__version__.startswith("0.")
    assert (Path(find_spec("flowweaver").origin).parent / "py.typed").exists()


@pytest.mark.parametrize("name", SIGNATURES)
def test_whatever_could_be_passed_still_can_in_the_same_place_and_with_the_same_default(name):
    called = flowweaver
    for part in name.split("."):
        called = getattr(called, part)
    parameters = dict(inspect.signature(called).parameters)
    if "." in name:
        parameters.pop("self")
    wanted = SIGNATURES[name]

    by_position = [key for key, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert by_position[: len(wanted)] == list(wanted)
    assert {key: parameters[key].default for key in wanted} == wanted
    # Whatever came later may be left out.
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    assert not [
        key
        for key, one in parameters.items()
        if key not in wanted and one.default is REQUIRED and one.kind not in kinds
    ]


@pytest.mark.parametrize("name", ["Task.execute_async", "Workflow.execute_async"])
def test_what_was_awaited_still_is(name):
    owner, method = name.split(".")

    assert inspect.iscoroutinefunction(getattr(getattr(flowweaver, owner), method))


@pytest.mark.parametrize("name", ABSTRACT)
def test_a_subclass_has_to_write_no_more_than_before(name):
    known = getattr(flowweaver, name)

    assert issubclass(known, abc.ABC)
    assert known.__abstractmethods__ <= ABSTRACT[name]
    with pytest.raises(TypeError):
        known()


def test_what_was_a_subclass_still_is():
    assert issubclass(flowweaver.InMemoryStateBackend, flowweaver.StateBackend)
    for name in ("SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"):
        assert issubclass(getattr(flowweaver, name), flowweaver.BaseExecutor)
    for name in ("JSONStateStore", "SQLiteStateStore"):
        assert issubclass(getattr(flowweaver, name), flowweaver.BaseStateStore)


def test_the_statuses_keep_their_names_and_their_values():
    status = flowweaver.TaskStatus

    assert issubclass(status, enum.Enum)
    assert {name: status[name].value for name in ("PENDING", "RUNNING", "COMPLETED", "FAILED")} == {
        "PENDING": "pending",
        "RUNNING": "running",
        "COMPLETED": "completed",
        "FAILED": "failed",
    }
    assert status("completed") is status.COMPLETED
