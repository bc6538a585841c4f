"""A picture as text for a terminal and as text for Mermaid. The SVG is drawn in `graph_svg`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flowweaver.cli.graph_layout import place
from flowweaver.cli.graph_picture import DrawnTask, Picture
from flowweaver.cli.progress import COLOURS, plain

SIGNS = {
    "Completed": "✔",
    "Failed": "✘",
    "Running": "▶",
    "Waiting": "…",
    "Skipped": "–",
    "Cancelled": "■",
    "Pending": "·",
}

_STYLES = {
    "Completed": "fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
    "Failed": "fill:#ffebe9,stroke:#cf222e,color:#1f2328,stroke-width:2px",
    "Running": "fill:#ddf4ff,stroke:#0969da,color:#1f2328",
    "Waiting": "fill:#fff8c5,stroke:#9a6700,color:#1f2328",
    "Skipped": "fill:#f6f8fa,stroke:#6e7781,color:#1f2328,stroke-dasharray:4",
    "Cancelled": "fill:#eaeef2,stroke:#57606a,color:#1f2328",
    "Pending": "fill:#ffffff,stroke:#8c959f,color:#1f2328",
}


def as_text(picture: Picture) -> RenderableType:
    """The tasks by layers: those of one layer can run at the same time; each with what it depends on."""
    layers = place([task.depends_on for task in picture.tasks], node_height=1, gap=1).layers
    ran = bool(picture.phase)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("STEP", justify="right")
    table.add_column("TASK", no_wrap=True)
    if ran:
        table.add_column("PHASE", no_wrap=True)
    table.add_column("AFTER", overflow="fold")
    if ran:
        table.add_column("REASON", overflow="fold")
    before = None
    for layer, task in sorted(zip(layers, picture.tasks, strict=True), key=lambda pair: pair[0]):
        colour = COLOURS.get(task.phase.lower(), "")
        after = Text(", ".join(picture.tasks[other].name for other in task.depends_on))
        step = str(layer + 1) if layer != before else ""
        if ran:
            phase = Text(f"{SIGNS.get(task.phase, ' ')} {task.phase}{_extent(task)}", colour)
            table.add_row(step, Text(task.name), phase, after, Text(task.reason))
        else:
            table.add_row(step, Text(task.name), after)
        before = layer
    return Group(Text.assemble((plain(picture.title), "bold"), f"  {picture.summary}"), "", table)


def as_mermaid(picture: Picture) -> str:
    """Text that GitHub, GitLab and Mermaid's own tools draw: from left to right, coloured by phase."""
    from flowweaver.library.mermaid import label, node_ids

    names = [task.name for task in picture.tasks]
    ids = node_ids(names)
    lines = ["graph LR"]
    for node, task in zip(ids, picture.tasks, strict=True):
        more = f"<br/>{label(f'{task.phase}{_extent(task)}')}" if task.phase else ""
        lines.append(f'    {node}["{label(task.name)}{more}"]')
    for node, task in zip(ids, picture.tasks, strict=True):
        lines += [f"    {ids[other]} --> {node}" for other in task.depends_on]
    for phase, style in _STYLES.items():
        found = [node for node, task in zip(ids, picture.tasks, strict=True) if task.phase == phase]
        if found:
            lines += [f"    classDef {phase.lower()} {style}", f"    class {','.join(found)} {phase.lower()}"]
    return "\n".join(lines)


def _extent(task: DrawnTask) -> str:
    tries = f", {task.attempts} attempts" if task.attempts > 1 else ""
    return f"{tries}{f', {task.took}' if task.took else ''}"
