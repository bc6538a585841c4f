"""Who refuses which mistake, and in which words: the table in docs/refusals.md is made here, against a real API server.

It is compared with the page; with FLOWWEAVER_WRITE_DOCS=1 the page is written instead.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowweaver.cli import main
from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.cluster.workflows import finish, workflow
from tests.docs.blocks import ROOT

PAGE = ROOT / "docs" / "refusals.md"
PART = re.compile(r"(<!-- made by tests/docs/test_refusals_in_a_cluster.py -->\n).*?(<!-- end -->)", re.DOTALL)

Task = dict[str, Any]
FIRST: Task = {"name": "first", "value": 1}
SECOND: Task = {"name": "second", "value": "${tasks.first.result + 1}"}


@dataclass(frozen=True)
class Mistake:
    what: str
    tasks: list[Task]
    names: str  # what the answer must name
    name: str = "probe"
    lint_knows: bool = True

    def manifest(self) -> dict[str, Any]:
        return workflow(self.name, *self.tasks)


MISTAKES = [
    Mistake(
        "a cycle", [{**FIRST, "dependsOn": ["second"]}, SECOND | {"dependsOn": ["first"]}], "first -> second -> first"
    ),
    Mistake(
        "a cycle by an expression",
        [{"name": "first", "value": "${tasks.second.result}"}, SECOND],
        "first -> second -> first",
    ),
    Mistake("an unknown name", [FIRST, {**SECOND, "dependsOn": ["frist"]}], '"frist"'),
    Mistake("a duplicate name", [FIRST, {"name": "first", "value": 2}], '"first"'),
    Mistake("a bad expression", [FIRST, {"name": "second", "value": "${tasks.first.result +}"}], "spec.tasks[1].value"),
    Mistake("two bodies", [FIRST, {**SECOND, "wait": {"duration": "1s"}}], "spec.tasks[1]"),
    Mistake("no body", [FIRST, {"name": "second"}], "spec.tasks[1]"),
    Mistake("an unknown field", [FIRST, {**SECOND, "retries": 3}], "retries"),
    Mistake("a name of 300 characters", [FIRST, SECOND], "name", name="x" * 300),
    Mistake("1001 tasks", [{"name": f"t{number}", "value": 1} for number in range(1001)], "1000"),
    Mistake("a spec of 600 KiB", [FIRST, {"name": "second", "value": ["x" * 1024] * 600}], "524288"),
    Mistake(
        "a body that is off",
        [FIRST, {"name": "second", "shell": {"script": "id"}}],
        "--unsafe-bodies",
        lint_knows=False,
    ),
]


@dataclass(frozen=True)
class Refusal:
    by: str
    text: str


@pytest.mark.control_plane
@pytest.mark.timeout(300)
def test_every_mistake_is_refused_in_the_words_of_the_docs_and_runs_once_it_is_mended(
    kubectl: Kubectl, operator: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    operator()
    rows = []
    for mistake in MISTAKES:
        refusal = refused(kubectl, mistake)
        assert mistake.names in refusal.text, f"{mistake.what}: {refusal.text}"
        lint = linted(mistake, tmp_path, capsys)
        rows.append(f"| {mistake.what} | {refusal.by} | {cell(refusal.text)} | {cell(lint)} |")
        kubectl("apply", "-f", "-", stdin=workflow("probe", FIRST, SECOND))
        assert finish(kubectl, "probe")["phase"] == "Completed", mistake.what
        kubectl("delete", "fw", "probe", "--wait", "--timeout=60s")
    table = "\n".join(["| mistake | refused by | it says | `flowweaver lint` says |", "|---|---|---|---|", *rows, ""])
    page = PAGE.read_text(encoding="utf-8")
    made = PART.sub(lambda part: f"{part[1]}{table}{part[2]}", page)
    if os.environ.get("FLOWWEAVER_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, "docs/refusals.md says something else: FLOWWEAVER_WRITE_DOCS=1"


def refused(kubectl: Kubectl, mistake: Mistake) -> Refusal:
    """What kubectl says at once, or what the operator writes into the status."""
    created = kubectl.run("create", "-f", "-", stdin=mistake.manifest())
    if created.returncode:
        return Refusal("the API server", " ".join(created.stderr.split()))
    found: dict[str, Any] = {}

    def is_refused() -> bool:
        status = kubectl.json("get", "fw", mistake.name).get("status") or {}
        found.update({condition["type"]: condition for condition in status.get("conditions") or ()})
        return bool(found) and found["Accepted"]["status"] == "False"

    await_true(f"{mistake.what} is refused", is_refused, seconds=60, every_seconds=0.1)
    return Refusal("the operator", f"{found['Accepted']['reason']}: {found['Accepted']['message']}")


def linted(mistake: Mistake, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What lint says, without the file's name and line."""
    file = folder / "probe.json"  # JSON is YAML
    file.write_text(json.dumps(mistake.manifest()))
    capsys.readouterr()
    status = main(["lint", str(file)])
    said = capsys.readouterr().err
    if not mistake.lint_knows:
        assert status == 0
        return "nothing: which bodies are on is the cluster's affair"
    assert status == 2
    assert "Traceback" not in said
    assert mistake.names in said, f"{mistake.what}: {said}"
    return "; ".join(re.sub(r"^.*?probe\.json(:\d+)?: ", "", line) for line in said.splitlines())


def cell(text: str) -> str:
    """Fit for a table: no long names, no bars."""
    return re.sub(r"x{20,}", "xxx…", text).replace("|", "\\|").replace("<", "&lt;")
