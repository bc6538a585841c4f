"""Put problems in the order of the file that they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from flowweaver.manifest.problems import Problem

_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def in_file_order(problems: Iterable[Problem], obj: Mapping[str, Any]) -> tuple[Problem, ...]:
    """The problems, each once; a field that is missing stands at the end of what it is missing from."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda problem: _position(problem.path, obj)))


def _position(path: str, obj: Any) -> tuple[int, ...]:
    position = []
    node = obj
    for index, name in _STEP.findall(path):
        if index and isinstance(node, (list, tuple)) and int(index) < len(node):
            position.append(int(index))
            node = node[int(index)]
        elif name and isinstance(node, Mapping) and name in node:
            position.append(list(node).index(name))
            node = node[name]
        else:
            position.append(1_000_000)
            break
    return tuple(position)
