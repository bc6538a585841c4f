"""Whether the tasks form a graph without cycles, dependencies by expression included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowweaver.core.graph import Graph
from flowweaver.errors import GraphError
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import INVALID_GRAPH


def cycle_problems(tasks: Sequence[tuple[str, Mapping[str, Any]]], found: Mapping[str, Sequence[str]]) -> list[Problem]:
    """A task that depends on itself, each; else one cycle. `found` has known names only, by task."""
    paths: dict[str, str] = {}
    for path, task in tasks:
        if isinstance(task.get("name"), str):
            paths.setdefault(task["name"], path)
    selfish = [name for name in paths if name in found.get(name, ())]
    if selfish:
        return [
            Problem(INVALID_GRAPH, paths[name], f'task "{name[:80]}" depends on itself: remove that dependency')
            for name in selfish
        ]
    try:
        Graph.build((name, found.get(name, ())) for name in paths)
    except GraphError as exc:
        _, _, cycle = str(exc).partition(": ")
        first = cycle.split(" -> ", 1)[0]
        return [Problem(INVALID_GRAPH, paths.get(first, "spec.tasks"), f"{exc}: remove one of these dependencies")]
    return []
