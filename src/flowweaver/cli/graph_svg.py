"""A picture as SVG: one file without scripts or fonts, which needs no other, and which a machine can read aloud.

A phase is told by its word as well as by its colour. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from rich.cells import cell_len, set_cell_size

from flowweaver.cli.graph_layout import Layout, place
from flowweaver.cli.graph_picture import DrawnTask, Picture
from flowweaver.cli.progress import plain

MARGIN, HEAD = 24, 68
NODE_HEIGHT, ROW_GAP, COLUMN_GAP = 46, 18, 64
NARROWEST = 110
LETTER, SMALL_LETTER = 7.9, 6.7
"""Width in pixels of a letter of the name and of the line below: the font is monospaced, so that it is known."""

LONGEST_NAME = 32
"""In letters; of a longer one the middle is left out, and it is whole in the tooltip."""

MOST_DESCRIBED = 100
"""Tasks in the description that is read aloud."""

_COLOURS = {  # fill, line
    "Completed": ("#dafbe1", "#1a7f37"),
    "Failed": ("#ffebe9", "#cf222e"),
    "Running": ("#ddf4ff", "#0969da"),
    "Waiting": ("#fff8c5", "#9a6700"),
    "Skipped": ("#f6f8fa", "#6e7781"),
    "Cancelled": ("#eaeef2", "#57606a"),
}
_OTHERS = ("#ffffff", "#6e7781")
_INK, _PALE_INK, _EDGE = "#1f2328", "#57606a", "#8c959f"
_FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace"


def as_svg(picture: Picture) -> str:
    """The whole file."""
    layout = place([task.depends_on for task in picture.tasks], node_height=NODE_HEIGHT, gap=ROW_GAP)
    lefts, widths = _columns(picture.tasks, layout.layers)
    heights = [*layout.middles, *(height for points in layout.waypoints.values() for _, height in points)]
    title = plain(picture.title)
    width = max([lefts[-1] + widths[-1] if lefts else 0, MARGIN + (cell_len(title) + 40) * LETTER]) + MARGIN
    height = HEAD + max(heights, default=0) + NODE_HEIGHT / 2 + MARGIN
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    named = 'role="img" aria-labelledby="flowweaver-title flowweaver-description"'
    arrow = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {named} font-family="{_FONT}">',
        f'<title id="flowweaver-title">{escape(title)}: {escape(plain(picture.summary))}</title>',
        f'<desc id="flowweaver-description">{escape(_description(picture))}</desc>',
        f'<defs><marker id="flowweaver-arrow" {arrow}><path d="M0,0 L8,4 L0,8 z" fill="{_EDGE}"/></marker></defs>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="30" font-size="15" font-weight="bold" fill="{_INK}">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="48" font-size="11.5" fill="{_PALE_INK}">{escape(plain(picture.summary))}</text>',
        f'<g fill="none" stroke="{_EDGE}" stroke-width="1.4" marker-end="url(#flowweaver-arrow)">',
        *_edges(picture.tasks, layout, lefts, widths),
        "</g>",
    ]
    for task, layer, middle in zip(picture.tasks, layout.layers, layout.middles, strict=True):
        parts += _node(task, lefts[layer], HEAD + middle - NODE_HEIGHT / 2, widths[layer])
    return "\n".join([*parts, "</svg>"])


def _columns(tasks: Sequence[DrawnTask], layers: Sequence[int]) -> tuple[list[float], list[float]]:
    """Where each layer begins, and how wide its nodes are."""
    widths = [float(NARROWEST)] * (max(layers, default=-1) + 1)
    for task, layer in zip(tasks, layers, strict=True):
        needed = max(cell_len(_name(task)) * LETTER, cell_len(_below(task)) * SMALL_LETTER) + 24
        widths[layer] = max(widths[layer], needed)
    lefts, left = [], float(MARGIN)
    for width in widths:
        lefts.append(left)
        left += width + COLUMN_GAP
    return lefts, widths


def _edges(
    tasks: Sequence[DrawnTask], layout: Layout, lefts: Sequence[float], widths: Sequence[float]
) -> Iterator[str]:
    for node, task in enumerate(tasks):
        for other in task.depends_on:
            layer = layout.layers[other]
            x, y = lefts[layer] + widths[layer], HEAD + layout.middles[other]
            path = f"M{x:.1f},{y:.1f}"
            for between, height in layout.waypoints[other, node]:
                path += _curve(x, y, lefts[between], HEAD + height) + f" H{lefts[between] + widths[between]:.1f}"
                x, y = lefts[between] + widths[between], HEAD + height
            yield f'<path d="{path}{_curve(x, y, lefts[layout.layers[node]] - 1, HEAD + layout.middles[node])}"/>'


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    half = min((to_x - x) / 2, COLUMN_GAP)
    return f" C{x + half:.1f},{y:.1f} {to_x - half:.1f},{to_y:.1f} {to_x:.1f},{to_y:.1f}"


def _node(task: DrawnTask, left: float, top: float, width: float) -> Iterator[str]:
    fill, line = _COLOURS.get(task.phase, _OTHERS)
    dashes = ' stroke-dasharray="5 3"' if task.phase == "Skipped" else ""
    thick = 2.4 if task.phase == "Failed" else 1.4
    told = [plain(task.name), plain(task.phase), plain(task.reason)]
    yield f"<g><title>{escape(': '.join(word for word in told if word))}</title>"
    yield (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{NODE_HEIGHT}" rx="7" fill="{fill}" '
        f'stroke="{line}" stroke-width="{thick}"{dashes}/>'
    )
    below = _below(task)
    y = top + (20 if below else NODE_HEIGHT / 2 + 4.5)
    yield f'<text x="{left + 12:.1f}" y="{y:.1f}" font-size="13" fill="{_INK}">{escape(_name(task))}</text>'
    if below:
        yield f'<text x="{left + 12:.1f}" y="{top + 36:.1f}" font-size="11" fill="{line}">{escape(below)}</text>'
    yield "</g>"


def _name(task: DrawnTask) -> str:
    name = plain(task.name)
    if cell_len(name) <= LONGEST_NAME:
        return name
    return f"{set_cell_size(name, LONGEST_NAME - 12)}…{name[-11:]}"  # names that begin alike often end in a number


def _below(task: DrawnTask) -> str:
    words = [plain(task.phase), f"{task.attempts} attempts" if task.attempts > 1 else "", task.took]
    return " · ".join(word for word in words if word)


def _description(picture: Picture) -> str:
    told = []
    for task in picture.tasks[:MOST_DESCRIBED]:
        after = ", ".join(picture.tasks[other].name for other in task.depends_on)
        told.append(f"{task.name}{f', {task.phase}' if task.phase else ''}{f', after {after}' if after else ''}.")
    if len(picture.tasks) > MOST_DESCRIBED:
        told.append(f"And {len(picture.tasks) - MOST_DESCRIBED} more.")
    return plain(" ".join(told))
