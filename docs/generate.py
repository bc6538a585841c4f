"""Writes again what the docs draw from the code: one fact, one place.

In a page, a part between `<!-- generated: NAME -->` and `<!-- end of NAME -->` is ours. With --check nothing is written
and a part that has drifted is shown as a diff, exit status 1.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

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


def fields() -> str:
    """Every field of a Workflow's spec, from the schema that the API server gets."""
    from flowweaver.manifest import crd

    (version,) = crd()["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    lines = ["| field | type | meaning |", "|---|---|---|", *_fields_below("", spec)]
    return "\n".join([*lines, ""])


def _fields_below(path: str, schema: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield f"| `{here}` | {_type_of(field)} | {' '.join(field.get('description', '').split())} |"
        yield from _fields_below(here, field)
        yield from _fields_below(f"{here}[]", field.get("items", {}))


def _type_of(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type_of(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type_of(field['additionalProperties'])}"
    return str(field.get("type", "any JSON"))


def settings() -> str:
    """The operator's options as the command has them."""
    lines = ["| option | environment | default | meaning |", "|---|---|---|---|"]
    for flags, variable, text in _options():
        default = re.search(r" Default: (.+)\.$", text)
        meaning = re.sub(r" Default: .+$", "", text)
        lines.append(f"| {flags} | `{variable}` | {f'`{default[1]}`' if default else ''} | {meaning} |")
    return "\n".join([*lines, ""])


def _options() -> Iterator[tuple[str, str, str]]:
    """Each of them with its environment variable and what it says of itself."""
    import typer

    from flowweaver.cli.application import application

    for option in typer.main.get_command(application).commands["operator"].params:
        if said := re.fullmatch(r"(.*) \(((?:FLOWWEAVER|OTEL)_\w+)\)", getattr(option, "help", None) or ""):
            yield " ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts)), said[2], said[1]


def values() -> str:
    """The chart's values, with the operator's options that they fill."""
    import chart_values

    options = {variable: flags for flags, variable, _ in _options()}
    return "\n".join([*chart_values.table(DOCS.parent / "charts" / "flowweaver", options), ""])


def metrics() -> str:
    """Every metric of the operator, under the name that /metrics shows."""
    from flowweaver.telemetry.metrics import CATALOGUE

    lines = ["| metric | labels | type | what it means, and what a rise tells |", "|---|---|---|---|"]
    for metric in CATALOGUE.values():
        labels = "; ".join(
            f"`{name}`" + (": " + ", ".join(values) if values else "") for name, values in metric.labels.items()
        )
        lines.append(f"| `{metric.name}` | {labels} | {metric.kind} | {metric.meaning} {metric.rise} |")
    return "\n".join([*lines, ""])


def alerts() -> str:
    """Every alert of the chart, with what it is called and how bad it is."""
    rules = DOCS.parent / "charts/flowweaver/files/rules/flowweaver.yaml"
    lines = ["| alert | severity | after | what it says |", "|---|---|---|---|"]
    for rule in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"][0]["rules"]:
        name, notes = rule["alert"], rule["annotations"]
        summary = notes["summary"].replace("{{ $labels.kind }}", "…")
        link = f"[`{name}`](runbooks.md#{name.lower()})"
        lines.append(f"| {link} | {rule['labels']['severity']} | {rule.get('for', 'at once')} | {summary} |")
    return "\n".join([*lines, ""])


PARTS: Mapping[str, Callable[[], str]] = {
    "task-phases": task_phases,
    "transitions": transitions,
    "reasons": reasons,
    "conditions": table_as_markdown,
    "fields": fields,
    "settings": settings,
    "values": values,
    "metrics": metrics,
    "alerts": alerts,
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
