"""A workflow as a picture: text for Mermaid, with a colour for each status."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from flowweaver.errors import ArgumentError
from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from flowweaver.library.workflow import Workflow

logger = logging.getLogger(__name__)

ORIENTATIONS = ("TD", "TB", "BT", "LR", "RL")
"""Top to bottom (by two names), bottom to top, left to right, right to left."""

_COLOURS = {
    TaskStatus.COMPLETED: "fill:#28a745,stroke:#1e7e34,color:#fff",
    TaskStatus.FAILED: "fill:#dc3545,stroke:#bd2130,color:#fff",
    TaskStatus.RUNNING: "fill:#fd7e14,stroke:#e8590c,color:#fff",
    TaskStatus.PENDING: "fill:#6c757d,stroke:#545b62,color:#fff",
    TaskStatus.SKIPPED: "fill:#adb5bd,stroke:#868e96,color:#212529,stroke-dasharray:4",
    TaskStatus.CANCELLED: "fill:#495057,stroke:#212529,color:#fff",
}

# fmt: off
_RESERVED = frozenset({
    "_blank", "_parent", "_self", "_top", "call", "class", "classDef", "click", "default", "direction", "end",
    "flowchart", "graph", "href", "interpolate", "linkStyle", "style", "subgraph", "v",
})
# fmt: on
"""What means something to Mermaid where a node could stand."""

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_]")
# Letters and digits of any script stay, and little else: quotes end a label, brackets and pipes may, a colon with a
# hash confuses a style, %%{ begins a directive, and "direction TB" is one wherever it stands.
_NOT_IN_A_LABEL = re.compile(r"[^\w ,./+()=@-]|(?<=direction) ", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")


def export_mermaid(workflow: Workflow, orientation: str = "TD") -> str:
    """The workflow as Mermaid's text: a node for each task, coloured by its status, an arrow for each dependency.

    `orientation` is one of `ORIENTATIONS`; any other raises `ArgumentError`, which is a `ValueError`. Each task has an
    id of its own, whatever its name, and its name as the label. Linear in tasks and dependencies.
    """
    direction = _direction(orientation)
    tasks = workflow.tasks
    if not tasks:
        return f"graph {direction}\n"
    ids = node_ids(tasks)
    lines = [f"graph {direction}"]
    lines += [f'    {node}["{label(name)}"]' for node, name in zip(ids, tasks, strict=True)]
    for node, dependencies in zip(ids, workflow.graph.dependencies, strict=True):
        lines += [f"    {ids[dependency]} --> {node}" for dependency in dependencies]
    lines.append("")
    lines += [f"    classDef {status.value} {colours}" for status, colours in _COLOURS.items()]
    nodes: dict[TaskStatus, list[str]] = {}
    for node, task in zip(ids, tasks.values(), strict=True):
        nodes.setdefault(task.status, []).append(node)
    lines += [f"    class {','.join(found)} {status.value}" for status, found in nodes.items()]
    return "\n".join([*lines, ""])


def save_mermaid(workflow: Workflow, filepath: str | PathLike[str], orientation: str = "TD") -> None:
    """Write `export_mermaid`'s text to a file, in place of what was there. Raises what that raises, and `OSError`."""
    text = export_mermaid(workflow, orientation)
    Path(filepath).write_text(text, encoding="utf-8")
    logger.info("the diagram of workflow '%s' is in %s", workflow.name, filepath)


def view_mermaid(
    workflow: Workflow, orientation: str = "TD", *, open_page: Callable[[str], object] | None = None
) -> Path:
    """Show the picture in the web browser; gives the page, a temporary file that stays until the system removes it.

    The page asks cdn.jsdelivr.net for Mermaid's script, which draws it there in the browser and sends nothing away.
    Where that can not be reached the page shows the text and says so. `open_page` gets the page's address in place of
    `webbrowser.open`. Raises `ArgumentError` for an unknown `orientation`.
    """
    import tempfile
    import webbrowser

    page = _page(workflow.name, export_mermaid(workflow, orientation))
    with tempfile.NamedTemporaryFile(
        "w", suffix=".html", prefix="flowweaver_", delete=False, encoding="utf-8"
    ) as stream:
        stream.write(page)
    path = Path(stream.name)
    if (open_page or webbrowser.open)(path.as_uri()) is False:
        logger.warning("there is no web browser to be opened here: the diagram is in %s", path)
    return path


def _direction(orientation: str) -> str:
    direction = str(orientation).upper()
    if direction not in ORIENTATIONS:
        raise ArgumentError(f"the orientation is {direction!r}: use one of {', '.join(ORIENTATIONS)}")
    return direction


def node_ids(names: Iterable[str]) -> list[str]:
    """A different id for each name, as near to it as Mermaid allows."""
    used: set[str] = set()
    numbers: dict[str, int] = {}  # of names that come to the same id
    ids = []
    for name in names:
        wanted = _NOT_IN_AN_ID.sub("_", name)
        if wanted[:1].isdigit():
            wanted = f"_{wanted}"
        if wanted in _RESERVED:
            wanted += "_"
        node = wanted
        while node in used:
            numbers[wanted] = numbers.get(wanted, 1) + 1
            node = f"{wanted}_{numbers[wanted]}"
        used.add(node)
        ids.append(node)
    return ids


def label(name: str) -> str:
    """A text as it may stand between the quotes of a label."""
    lines = _LINE_END.split(name)
    return "<br/>".join(_NOT_IN_A_LABEL.sub(lambda found: f"#{ord(found[0])};", line) for line in lines)


def _page(title: str, diagram: str) -> str:
    from html import escape

    return _PAGE.replace("TITLE", escape(title)).replace("DIAGRAM", escape(diagram))


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>TITLE</title>
  <style>
    body { font-family: system-ui, sans-serif; margin: 1.5rem; color: #212529; background: #fff; }
    h1 { font-size: 1.25rem; }
    #note { color: #6c757d; }
    #source { background: #f1f3f5; padding: 1rem; overflow-x: auto; }
  </style>
</head>
<body>
  <h1>TITLE</h1>
  <p id="note">Loading Mermaid from cdn.jsdelivr.net …</p>
  <div id="picture"></div>
  <pre id="source">
DIAGRAM</pre>
  <script>
    const source = document.getElementById("source"), note = document.getElementById("note");
    function undrawn(why) {
      note.textContent = why + " This is the diagram's text: it can be pasted into any tool that draws Mermaid.";
    }
    async function draw() {
      try {
        const text = source.textContent;
        mermaid.initialize({
          startOnLoad: false, securityLevel: "strict", maxTextSize: text.length + 1, maxEdges: text.length,
        });
        document.getElementById("picture").innerHTML = (await mermaid.render("drawing", text)).svg;
        note.hidden = source.hidden = true;
      } catch (error) {
        undrawn("Mermaid could not draw this: " + error + ".");
      }
    }
  </script>
  <script src="https://cdn.jsdelivr.net/npm/mermaid@11/dist/mermaid.min.js" onload="draw()"
    onerror="undrawn('Mermaid could not be loaded from cdn.jsdelivr.net.')"></script>
</body>
</html>
"""
