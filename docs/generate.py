"""Writes again what the docs draw from the code: one fact, one place.

In a page, a part between `<!-- generated: NAME -->` and `<!-- end of NAME -->` is ours. With --check nothing is written,
and a part that has drifted is shown as a diff, exit status 1.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from flowweaver.core.phases import TRANSITIONS, Reason, TaskPhase
from flowweaver.operator.conditions import table_as_markdown

DOCS = Path(__file__).parent
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n)(?P<text>.*?)(<!-- end of (?P=name) -->)", re.DOTALL)


def task_phases() -> str:
    """The state machine of a task as a diagram, straight from the table that the engine follows."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> Pending"]
    steps: dict[tuple[TaskPhase, TaskPhase], list[str]] = {}
    for (phase, step), after in TRANSITIONS.items():
        steps.setdefault((phase, after), []).append(step.value)
    for (phase, after), names in steps.items():
        lines.append(f"    {phase.capitalize()} --> {after.capitalize()}: {', '.join(names)}")
    lines += [f"    {phase.capitalize()} --> [*]" for phase in TaskPhase if phase.finished]
    return "\n".join([*lines, "```", ""])


def transitions() -> str:
    """The same as a table: a row a phase, a column a step."""
    names = sorted({step.value for _, step in TRANSITIONS})
    lines = ["| phase | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for phase in TaskPhase:
        found = {step.value: after.capitalize() for (before, step), after in TRANSITIONS.items() if before is phase}
        lines.append(f"| {phase.capitalize()} | " + " | ".join(found.get(name, "") for name in names) + " |")
    return "\n".join([*lines, ""])


def reasons() -> str:
    """Every reason that a task or a run can have."""
    return ", ".join(f"`{reason.value}`" for reason in Reason) + "\n"


PARTS: Mapping[str, Callable[[], str]] = {
    "task-phases": task_phases,
    "transitions": transitions,
    "reasons": reasons,
    "conditions": table_as_markdown,
}


def regenerated(text: str) -> str:
    """The page with every part of ours as it would be written now; raises `KeyError` for a part that nobody makes."""
    return PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}{part[4]}", text)


def main(arguments: list[str]) -> int:
    check = arguments == ["--check"]
    drifted = False
    for page in sorted(DOCS.glob("*.md")):
        before = page.read_text(encoding="utf-8")
        after = regenerated(before)
        if before == after:
            continue
        if check:
            drifted = True
            difference = difflib.unified_diff(
                before.splitlines(keepends=True), after.splitlines(keepends=True), page.name, "as the code makes it"
            )
            sys.stderr.writelines(difference)
        else:
            page.write_text(after, encoding="utf-8")
            print(f"wrote {page}")
    if check:
        print("docs: " + ("run make docs" if drifted else "as the code makes them"))
    return int(drifted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
