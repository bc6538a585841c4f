#!/usr/bin/env python3
"""Draws the chart's dashboard from what a Prometheus has: `dashboard_picture.py http://localhost:9090 out.png SECONDS`.

It is no Grafana: it takes the panels of the dashboard's JSON, asks that Prometheus for their expressions over the last
so many seconds, and draws the answers with matplotlib at the panels' places. Nothing is made up; a panel without data
says so. The picture in the docs comes from a test, which works for some minutes where DASHBOARD_PICTURE names a file:

    python3 -m venv .cache/picture && .cache/picture/bin/pip install matplotlib
    DASHBOARD_PICTURE=docs/images/dashboard.png .venv/bin/pytest --timeout 600 -k every_expression tests/monitoring
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

DASHBOARD = Path(__file__).resolve().parents[1] / "charts/flowweaver/files/dashboards/flowweaver.json"
COLUMNS, ROW_INCHES, WIDTH_INCHES = 24, 0.36, 20.0
STEPS = 160
BACKGROUND, PANEL, TEXT, FAINT = "#111217", "#181b1f", "#ccccdc", "#34373f"
COLOURS = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#ca95e5", "#37872d"]
STATES = {"red": "#f2495c", "orange": "#ff9830", "green": "#73bf69"}


def ask(url: str, expression: str, start: float, end: float) -> list[tuple[dict[str, str], list[float], list[float]]]:
    """Labels, times (seconds before `end`) and values of each series."""
    step = max(1.0, (end - start) / STEPS)
    query = urllib.parse.urlencode({"query": expression, "start": start, "end": end, "step": step})
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{query}", timeout=60) as answer:  # noqa: S310 - as it was told
        found = json.load(answer)["data"]["result"]
    return [
        (one["metric"], [float(at) - end for at, _ in one["values"]], [float(value) for _, value in one["values"]])
        for one in found
    ]


def named(legend: str, labels: dict[str, str]) -> str:
    """The legend with its labels filled in."""
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def readable(value: float, unit: str) -> str:
    """A number as Grafana would write it, nearly."""
    if math.isnan(value):
        return "no data"
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "bytes":
        power = min(4, int(math.log2(abs(value)) // 10)) if abs(value) >= 1 else 0
        return f"{value / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
    if unit == "s":
        size, name = next((size, name) for size, name in ((120, "min"), (1, "s"), (0, "ms")) if abs(value) >= size)
        return f"{value / {'min': 60, 's': 1, 'ms': 0.001}[name]:.3g} {name}" if size or value else "0 s"
    return f"{value:.4g}{'/s' if unit == 'ops' else ''}"


def draw_panel(axes: Axes, panel: dict[str, Any], url: str, start: float, end: float) -> None:
    """One panel at its place."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    axes.set_facecolor(PANEL)
    axes.set_title(panel["title"], loc="left", color=TEXT, fontsize=10, fontweight="bold")
    for side in axes.spines.values():
        side.set_color(FAINT)
    series = []
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "15s").replace("$namespace", ".*").replace("$job", ".*")
        series += [(named(target["legendFormat"], labels), *rest) for labels, *rest in ask(url, expression, start, end)]
    series = [(name, at, values) for name, at, values in series if not all(map(math.isnan, values))]
    if panel["type"] == "stat":
        draw_number(axes, panel, series[0][2][-1] if series else math.nan, unit)
        return
    if not series:
        axes.text(0.5, 0.5, "no data", color=TEXT, ha="center", transform=axes.transAxes)
    for number, (name, at, values) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(at, values, color=colour, linewidth=1.4, label=name)
        axes.fill_between(at, values, color=colour, alpha=0.08)
    axes.set_ylim(bottom=0)
    if all(value == 0 for _, _, values in series for value in values if not math.isnan(value)):
        axes.set_ylim(0, 1)
    axes.set_xlim(start - end, 0)
    axes.grid(color=FAINT, linewidth=0.5)
    axes.tick_params(colors=TEXT, labelsize=8, length=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: readable(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"-{-value:.0f} s" if value else "now"))
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.1), ncols=3, fontsize=7, frameon=False, labelcolor=TEXT,
        handlelength=1.0, columnspacing=1.0,
    )  # fmt: skip


def draw_number(axes: Axes, panel: dict[str, Any], value: float, unit: str) -> None:
    """A panel that is one number."""
    colour = TEXT
    for step in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ()):
        if step["value"] is None or value >= step["value"]:
            colour = STATES[step["color"]]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.45, readable(value, unit), color=colour, fontsize=26, ha="center", va="center", transform=axes.transAxes
    )


def main(url: str, output: str, seconds: str) -> None:
    """Ask, draw, write."""
    end = time.time()
    start = end - float(seconds)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    mpl.rcParams["font.family"] = "DejaVu Sans"
    height = rows * ROW_INCHES
    figure = plt.figure(figsize=(WIDTH_INCHES, height), facecolor=BACKGROUND)
    for panel in panels:
        grid = panel["gridPos"]
        left, top = grid["x"] / COLUMNS, 1 - grid["y"] / rows
        if panel["type"] == "row":
            figure.text(0.008, top - 0.7 / rows, panel["title"], color=TEXT, fontsize=12, fontweight="bold")
            continue
        below = 0.4 if panel["type"] == "stat" else 2.1  # rows for the legend
        box = (
            left + 0.9 / COLUMNS,
            top - (grid["h"] - below) / rows,
            (grid["w"] - 1.3) / COLUMNS,
            (grid["h"] - below - 1.1) / rows,
        )
        draw_panel(figure.add_axes(box), panel, url, start, end)
    figure.savefig(output, dpi=72, facecolor=BACKGROUND)


if __name__ == "__main__":
    main(*sys.argv[1:])
