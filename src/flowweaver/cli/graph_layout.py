"""Where the nodes of a graph are drawn: layers from left to right, few crossings, long edges around nodes. Pure.

A layer is one more than the longest way to a node. An edge over several layers gets a waypoint in each layer between,
which takes part in ordering and placing like a small node.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 12
"""How often the order of all layers is looked at again, each time from the other side."""

MOST_WAYPOINTS = 5_000
"""With more, long edges are drawn straight: nobody can follow so many."""


@dataclass(frozen=True, slots=True)
class Layout:
    """For each node its layer and where its middle is from the top; for each edge its waypoints from left to right,
    each as layer and height.
    """

    layers: tuple[int, ...]
    middles: tuple[float, ...]
    waypoints: dict[tuple[int, int], tuple[tuple[int, float], ...]]


def place(depends_on: Sequence[Sequence[int]], *, node_height: float, gap: float) -> Layout:
    """A layout of nodes that all have the same height. `depends_on` has for each node the earlier ones."""
    layers = _layers(depends_on)
    chains = _chains(depends_on, layers)
    levels, neighbours = _levels(layers, chains)
    rows = _ordered(levels, *neighbours)
    heights = [node_height if item < len(layers) else 0.0 for item in range(len(neighbours[0]))]
    middles = _middles(rows, *neighbours, heights, gap)
    top = min((middles[node] for node in range(len(layers))), default=0.0) - node_height / 2
    top = min([top, *(middle for middle in middles)])
    waypoints = {
        (chain[0], chain[-1]): tuple(
            (layers[chain[0]] + step, middles[item] - top) for step, item in enumerate(chain[1:-1], 1)
        )
        for chain in chains
    }
    return Layout(tuple(layers), tuple(middles[node] - top for node in range(len(layers))), waypoints)


def _layers(depends_on: Sequence[Sequence[int]]) -> list[int]:
    followers: list[list[int]] = [[] for _ in depends_on]
    unmet = [len(found) for found in depends_on]
    for node, found in enumerate(depends_on):
        for other in found:
            followers[other].append(node)
    layers = [0] * len(depends_on)
    ready = [node for node, number in enumerate(unmet) if not number]
    for node in ready:
        for follower in followers[node]:
            layers[follower] = max(layers[follower], layers[node] + 1)
            unmet[follower] -= 1
            if not unmet[follower]:
                ready.append(follower)
    for node, found in enumerate(depends_on):  # what depends on nothing stands beside what needs it
        if not found and followers[node]:
            layers[node] = min(layers[follower] for follower in followers[node]) - 1
    return layers


def _chains(depends_on: Sequence[Sequence[int]], layers: Sequence[int]) -> list[list[int]]:
    """Each edge as a chain of items, a waypoint in each layer that it passes; items beyond the nodes are waypoints."""
    edges = [(other, node) for node, found in enumerate(depends_on) for other in found]
    many = sum(layers[end] - layers[start] - 1 for start, end in edges) > MOST_WAYPOINTS
    chains, following = [], len(depends_on)
    for start, end in edges:
        between = 0 if many else layers[end] - layers[start] - 1
        chains.append([start, *range(following, following + between), end])
        following += between
    return chains


def _levels(
    layers: Sequence[int], chains: Sequence[Sequence[int]]
) -> tuple[list[list[int]], tuple[list[list[int]], list[list[int]]]]:
    """The items of each layer, and for each item its neighbours to the left and to the right."""
    total = max([len(layers), *(item + 1 for chain in chains for item in chain)], default=0)
    left: list[list[int]] = [[] for _ in range(total)]
    right: list[list[int]] = [[] for _ in range(total)]
    levels: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for node, layer in enumerate(layers):
        levels[layer].append(node)
    for chain in chains:
        for step, item in enumerate(chain[1:-1], 1):
            levels[layers[chain[0]] + step].append(item)
        for one, other in pairwise(chain):
            right[one].append(other)
            left[other].append(one)
    return levels, (left, right)


def _ordered(levels: list[list[int]], left: list[list[int]], right: list[list[int]]) -> list[list[int]]:
    """Each layer in the order that was seen to give the fewest crossings."""
    rows = [list(level) for level in levels]
    best, fewest = [list(row) for row in rows], _crossings(rows, right)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        forth = sweep % 2 == 0
        neighbours = left if forth else right
        for row in rows[1:] if forth else rows[-2::-1]:
            places = {item: place for level in rows for place, item in enumerate(level)}
            wanted = {item: _mean([places[other] for other in neighbours[item]], places[item]) for item in row}
            row.sort(key=wanted.__getitem__)
        crossings = _crossings(rows, right)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    return best


def _mean(places: Sequence[int], own: int) -> float:
    return sum(places) / len(places) if places else own


def _crossings(rows: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> int:
    places = {item: place for row in rows for place, item in enumerate(row)}
    crossings = 0
    for row in rows:
        seen: list[int] = []
        for item in row:
            ends = sorted(places[other] for other in right[item])
            crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return crossings


def _middles(
    rows: Sequence[Sequence[int]],
    left: Sequence[Sequence[int]],
    right: Sequence[Sequence[int]],
    heights: Sequence[float],
    gap: float,
) -> list[float]:
    """Each item as near as it can be to the middle of its neighbours, in the order of its row and with room between."""
    middles = [0.0] * len(heights)
    for row in rows:
        _settle(row, [0.0] * len(row), heights, gap, middles)
    for sweep in range(SWEEPS):
        forth = sweep % 2 == 0
        for row in rows if forth else reversed(rows):
            wanted = []
            for item in row:
                others = (left[item] or right[item]) if forth else (right[item] or left[item])
                wanted.append(sum(middles[other] for other in others) / len(others) if others else middles[item])
            _settle(row, wanted, heights, gap, middles)
    return middles


def _settle(
    row: Sequence[int], wanted: Sequence[float], heights: Sequence[float], gap: float, middles: list[float]
) -> None:
    """Places nearest to the wanted ones, by least squares, that keep order and distance (pool adjacent violators)."""
    offsets, offset = [], 0.0
    for place, item in enumerate(row):
        if place:
            offset += (heights[row[place - 1]] + heights[item]) / 2 + gap
        offsets.append(offset)
    pools: list[tuple[float, int]] = []  # mean and size of items that stand as close as they may
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, others = pools.pop()
            mean, size = (mean * size + other * others) / (size + others), size + others
        pools.append((mean, size))
    settled = [mean for mean, size in pools for _ in range(size)]
    for item, mean, offset in zip(row, settled, offsets, strict=True):
        middles[item] = mean + offset
