"""Who refuses what, and in which words: the table in the docs is made here, from a real API server and operator.

`FLOWWEAVER_WRITE_DOCS=1` writes it again; otherwise it is compared.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from flowweaver.cli import main
from tests.cluster.workflows import condition, finish
from tests.manifest.manifests import value
from tests.manifest.manifests import workflow as manifest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "refusals.md"
HEAD = """# What is refused

Who refuses a mistake, and the exact text. The API server holds a Workflow against the CRD when it is applied; the
operator looks at the rest and says `Accepted=False` with the first problem's reason, and nothing runs. `flowweaver
lint` finds it without a cluster, exit status 2, but for what only an administrator switches off. Mend the manifest and
apply it again: then it runs.

`metadata.annotations: Too long` is kubectl's own limit: `kubectl apply` keeps a copy of the manifest in an annotation
of at most 256 KiB. `kubectl apply --server-side` keeps none, and takes manifests up to FlowWeaver's 512 KiB.

This table was made by a test against a real API server and operator.

| mistake | refused by | kubectl, or the condition `Accepted` | `flowweaver lint` |
|---|---|---|---|
"""

MENDED = [value("extract"), value("load", "extract")]
MISTAKES = {
    "a cycle": [value("a", "b"), value("b", "a")],
    "a cycle by an expression": [value("a", "b"), value("b", content="${tasks.a.result}")],
    "a task that depends on itself": [value("a", "a")],
    "an unknown name": [value("extract"), value("load", "extrct")],
    "an unknown name in an expression": [value("extract"), value("load", content="${tasks.extrct.result}")],
    "a duplicate name": [value("extract"), value("extract")],
    "names that Python spells the same": [value("a-b"), value("a_b")],
    "a bad expression": [value("a", content="${1 +}")],
    "two bodies": [{"name": "a", "http": {"url": "https://example.com"}, "wait": {"duration": "5s"}}],
    "two bodies, one of them `value`": [{"name": "a", "value": 1, "wait": {"duration": "5s"}}],
    "no body": [{"name": "a"}],
    "a body that is switched off": [{"name": "a", "shell": {"command": ["true"]}}],
    "an unknown field": [{"name": "a", "value": 1, "dependOn": ["b"]}],
    "a field of a later release": [{"name": "a", "value": 1, "forEach": {"items": [1]}}],
    "a name of 300 characters": [value("a" * 300)],
    "a duration without a unit": [{"name": "a", "value": 1, "timeout": "90"}],
    "1001 tasks": [value(f"t{number}") for number in range(1001)],
    "a spec of 600 KiB": [value("a", content="x" * 600 * 1024)],
    "a spec of 600 KiB, with `--server-side`": [value("a", content="x" * 600 * 1024)],
}


def workflow(name, tasks):
    obj = manifest(*tasks, name=name)
    obj["metadata"] = {"name": name}
    return obj


def applied(kubectl, obj, mistake):
    """Who refused it, and the text."""
    server_side = ["--server-side"] if "--server-side" in mistake else []
    ended = kubectl.run("apply", *server_side, "-f", "-", stdin=obj)
    if ended.returncode:
        return "the API server", _plain(ended.stderr)
    status = finish(kubectl, obj["metadata"]["name"])
    stands, reason = condition(status, "Accepted")
    assert stands == "False", status
    (message,) = [found["message"] for found in status["conditions"] if found["type"] == "Accepted"]
    assert status["phase"] == "Failed"
    assert not status.get("startedAt")
    return "the operator", f"{reason}: {message}"


def _plain(text):
    """The text in one line, without what only says that there was an error and that others may follow."""
    lines = [
        re.sub(r"^\* ", "", line) for line in text.strip().splitlines() if "some validation rules were not" not in line
    ]
    return re.sub(
        r'^.*? is invalid: |^Error from server \(BadRequest\): error when creating "STDIN": ', "", " ".join(lines)
    ).strip()


def linted(capsys, file, obj):
    file.write_text(json.dumps(obj))
    capsys.readouterr()
    assert main(["lint", str(file)]) == 2
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert "Traceback" not in text
    return re.sub(rf"{re.escape(str(file))}(:\d+)?: ", "", " ".join(text.split()))


def _cell(text):
    text = re.sub(r"a{60,}", "aaa…", text).replace("|", "\\|")
    return f"`{text}`" if "`" not in text else text


@pytest.mark.control_plane
@pytest.mark.timeout(300)
def test_every_mistake_is_refused_in_these_words_and_runs_once_mended(kubectl, operator, capsys, tmp_path):
    operator()
    rows = []
    for number, (mistake, tasks) in enumerate(MISTAKES.items()):
        obj = workflow(f"mistake-{number}", tasks)
        who, text = applied(kubectl, obj, mistake)
        found = "" if "switched off" in mistake else linted(capsys, tmp_path / "workflow.json", obj)
        rows.append(f"| {mistake} | {who} | {_cell(text)} | {_cell(found) if found else '(a laptop runs it)'} |\n")
    page = HEAD + "".join(rows)
    if os.environ.get("FLOWWEAVER_WRITE_DOCS"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page, "run this test with FLOWWEAVER_WRITE_DOCS=1"

    for number, mistake in enumerate(MISTAKES):
        forced = ["--server-side", "--force-conflicts"] if "600 KiB" in mistake else []
        kubectl("apply", *forced, "-f", "-", stdin=workflow(f"mistake-{number}", MENDED))
    for number in range(len(MISTAKES)):
        name = f"mistake-{number}"
        kubectl("wait", "--for=jsonpath={.status.phase}=Completed", f"fw/{name}", "--timeout=60s")
