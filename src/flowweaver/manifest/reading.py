"""Which tasks' results each task of a manifest needs: not those that it only waits for, or asks how they ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flowweaver.manifest.compiling import OUTPUTS_TASK
from flowweaver.manifest.meaning import meaning_of
from flowweaver.manifest.models import Workflow
from flowweaver.policy import Policy


def results_needed(obj: Mapping[str, Any], workflow: Workflow, policy: Policy) -> dict[str, frozenset[str]]:
    """By task (and `OUTPUTS_TASK`), the tasks whose results it needs. `obj` is the object that `workflow` was made of.

    In doubt a result counts as needed: a Python function may take that of any task that its own depends on.
    """
    spec = obj["spec"]
    tasks = [{key: value for key, value in task.items() if key != "dependsOn"} for task in spec["tasks"]]
    meaning = meaning_of({**obj, "spec": {**spec, "tasks": tasks}}, policy)
    needed = {}
    for task, found in zip(workflow.spec.tasks, tasks, strict=True):
        if task.python is not None:
            needed[task.name] = frozenset([*(task.depends_on or ()), *meaning.found.get(task.name, ())])
        else:
            needed[task.name] = _needed(found, meaning.found.get(task.name, ()))
    needed[OUTPUTS_TASK] = _needed(spec.get("outputs"), meaning.output_tasks)
    return needed


def _needed(value: Any, read: Any) -> frozenset[str]:
    text = json.dumps(value, ensure_ascii=False).replace('\\"', '"')
    return frozenset(name for name in read if _reads_more_than_the_end(text, name))


def _reads_more_than_the_end(text: str, name: str) -> bool:
    """Whether some expression asks for more of a task than how it ended."""
    task = rf"""\btasks\s*(?:\.\s*{re.escape(name)}\b(?!-)|\[\s*["']{re.escape(name)}["']\s*\])"""
    reads = len(re.findall(task, text))
    ends = len(re.findall(rf"{task}\s*\.\s*(?:phase|attempts|error)\b", text))
    return reads != ends or not reads
