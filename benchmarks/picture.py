"""The ratios as a picture. Written as SVG by hand: rows, dots and whiskers are not worth a drawing library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from cases import Contender
from ratios import Spread, figures
from rounds import Measured

LEFT, RIGHT, PLOT, ROW, TOP = 330, 120, 560, 19, 64
"""Pixels: names on the left, numbers on the right, the plot between, the height of a row, the head."""

COLOURS = {"held": "#2e7d32", "missed": "#c62828", "": "#1565c0"}


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    spread: Spread | None  # None: the title of a workload
    limit: float | None
    verdict: str


def picture(every: Sequence[Measured]) -> str:
    """A dot for the median of each ratio, a line between its quartiles, a bar at its limit, on a logarithmic scale."""
    rows = [row for measured in every if not measured.case.difference for row in _rows(measured)]
    values = [value for row in rows if row.spread for value in (row.spread.low, row.spread.high, row.limit or 1.0)]
    low, high = min([0.5, *values]) / 1.15, max([2.0, *values]) * 1.15
    width, height = LEFT + PLOT + RIGHT, TOP + ROW * len(rows) + 16

    def x(value: float) -> float:
        return LEFT + PLOT * math.log(value / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="15">How long FlowWeaver takes, as a multiple of others (left is faster)</text>',
        *_axis(low, high, height, x),
    ]
    for number, row in enumerate(rows):
        parts += _drawn(row, TOP + ROW * number + ROW / 2, x)
    return "\n".join([*parts, "</svg>", ""])


def _rows(measured: Measured) -> list[_Row]:
    found = [
        _Row(contender.name, spread, contender.limit, measured.verdict(contender))
        for contender in measured.case.against
        if (spread := _positive(measured, contender)) is not None
    ]
    return [_Row(f"{measured.case.name}: {measured.case.title}", None, None, ""), *found] if found else []


def _positive(measured: Measured, contender: Contender) -> Spread | None:
    spread = measured.compared(contender)
    return spread if spread is not None and spread.low > 0 else None


def _axis(low: float, high: float, height: float, x) -> list[str]:
    parts = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for step in (1, 2, 5):
            value = step * 10.0**power
            if not low <= value <= high:
                continue
            colour = "#555555" if value == 1 else "#dddddd"
            parts.append(
                f'<line x1="{x(value):.1f}" y1="{TOP - 6}" x2="{x(value):.1f}" y2="{height}" stroke="{colour}"/>'
            )
            parts.append(f'<text x="{x(value):.1f}" y="{TOP - 12}" text-anchor="middle">{value:g}×</text>')
    return parts


def _drawn(row: _Row, y: float, x) -> list[str]:
    if row.spread is None:
        return [f'<text x="12" y="{y + 4:.1f}" font-weight="bold">{escape(row.label)}</text>']
    colour, spread = COLOURS[row.verdict], row.spread
    low, high = f"{x(spread.low):.1f}", f"{x(spread.high):.1f}"
    parts = [
        f'<text x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>',
        f'<line x1="{low}" y1="{y}" x2="{high}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{x(spread.median):.1f}" cy="{y}" r="4.5" fill="{colour}"/>',
        f'<text x="{LEFT + PLOT + 10}" y="{y + 4:.1f}" fill="{colour}">{figures(spread.median)}× {row.verdict}</text>',
    ]
    if row.limit is not None:
        at = x(row.limit)
        parts.append(f'<line x1="{at:.1f}" y1="{y - 7}" x2="{at:.1f}" y2="{y + 7}" stroke="#000000" stroke-width="2"/>')
    return parts
