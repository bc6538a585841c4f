"""Dependencies as numbers.

A graph is built once from names and then speaks of positions only: position i is the i-th task as the user wrote it.
Building costs O(tasks + edges).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flowweaver.errors import GraphError


@dataclass(frozen=True, slots=True)
class Graph:
    """A DAG. `dependencies[i]` and `dependants[i]` are positions, in the order in which the user named them."""

    names: tuple[str, ...]
    dependencies: tuple[tuple[int, ...], ...]
    dependants: tuple[tuple[int, ...], ...]

    @classmethod
    def build(cls, tasks: Iterable[tuple[str, Sequence[str]]]) -> Graph:
        """Build from `(name, names of its dependencies)`; a dependency that is named twice counts once.

        Raises `GraphError` for the first of: a duplicate name, an unknown dependency, a task that depends on itself,
        a cycle. The message names the tasks.
        """
        rows = list(tasks)
        names = tuple(name for name, _ in rows)
        positions = _positions(names)
        dependencies = tuple(_resolve(name, wanted, positions) for name, wanted in rows)
        dependants: list[list[int]] = [[] for _ in names]
        for task, wanted in enumerate(dependencies):
            for dependency in wanted:
                dependants[dependency].append(task)
        graph = cls(names, dependencies, tuple(map(tuple, dependants)))
        cycle = graph._cycle()
        if cycle:
            raise GraphError("tasks depend on each other in a cycle: " + " -> ".join(names[task] for task in cycle))
        return graph

    @classmethod
    def ordered(cls, names: Sequence[str], dependencies: Sequence[Sequence[int]]) -> Graph:
        """Build from tasks that come after all that they depend on, dependencies as positions, each named once.

        Nothing is searched: the names must be different. Raises `GraphError` where a task depends on a later one.
        """
        dependants: list[list[int]] = [[] for _ in names]
        for task, wanted in enumerate(dependencies):
            if wanted and not 0 <= min(wanted) <= max(wanted) < task:
                raise GraphError(f'task "{names[task]}" comes before what it depends on: put it behind that')
            for dependency in wanted:
                dependants[dependency].append(task)
        return cls(tuple(names), tuple(map(tuple, dependencies)), tuple(map(tuple, dependants)))

    def order(self) -> tuple[int, ...]:
        """All positions, dependencies first; among those that are free at once, the user's order."""
        missing = [len(wanted) for wanted in self.dependencies]
        order = [task for task, count in enumerate(missing) if not count]
        for task in order:
            for dependant in self.dependants[task]:
                missing[dependant] -= 1
                if not missing[dependant]:
                    order.append(dependant)
        return tuple(order)

    def _cycle(self) -> list[int]:
        """A cycle with its first task repeated at the end, walking along dependencies; empty where there is none."""
        ordered = set(self.order())
        if len(ordered) == len(self.names):
            return []
        seen: dict[int, int] = {}
        path: list[int] = []
        task = min(task for task in range(len(self.names)) if task not in ordered)
        # Every task outside the order has a dependency outside it: following them must come round.
        while task not in seen:
            seen[task] = len(path)
            path.append(task)
            task = next(wanted for wanted in self.dependencies[task] if wanted not in ordered)
        return [*path[seen[task] :], task]


def _positions(names: Sequence[str]) -> Mapping[str, int]:
    positions: dict[str, int] = {}
    for position, name in enumerate(names):
        if name in positions:
            raise GraphError(f'two tasks are named "{name}": give one of them another name')
        positions[name] = position
    return positions


def _resolve(name: str, wanted: Sequence[str], positions: Mapping[str, int]) -> tuple[int, ...]:
    for dependency in wanted:
        if dependency not in positions:
            raise GraphError(f'task "{name}" depends on "{dependency}", and there is no task of that name')
        if dependency == name:
            raise GraphError(f'task "{name}" depends on itself: remove that dependency')
    return tuple(dict.fromkeys(positions[dependency] for dependency in wanted))
