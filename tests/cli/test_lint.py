"""`flowweaver lint`: every problem with its place, and never a traceback, whatever is in the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flowweaver.cli import main
from flowweaver.cli.manifests import Document
from flowweaver.manifest.problems import Problem

GOOD = """
apiVersion: flowweaver.io/v1alpha1
kind: Workflow
metadata: {name: good}
spec:
  tasks:
    - name: a
      value: 1
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(content: str | bytes, name: str = "probe.yaml") -> str:
        file = tmp_path / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(file)

    return write


def test_a_good_file_exits_0(write, capsys):
    assert main(["lint", write(GOOD)]) == 0
    assert capsys.readouterr().out == "1 file: no problems\n"


def test_every_problem_of_every_file_is_told_in_the_order_of_the_files(write, capsys):
    first = write(GOOD.replace("value: 1", "value: 1\n      dependsOn: [x]\n    - name: b\n      valeu: 2"), "1.yaml")
    second = write(GOOD.replace("value: 1", "value: ${params.nobody}"), "2.yaml")

    status = main(["lint", first, second])

    lines = capsys.readouterr().err.splitlines()
    assert status == 2
    assert [line.rsplit("/", 1)[1].split(": ")[:2] for line in lines] == [
        ["1.yaml:9", "spec.tasks[0].dependsOn[0]"],
        ["1.yaml:10", "spec.tasks[1]"],
        ["1.yaml:11", "spec.tasks[1].valeu"],
        ["2.yaml:8", "spec.tasks[0].value"],
    ]


def test_the_line_is_that_of_the_second_document_where_the_problem_is_there(write, capsys):
    assert main(["lint", write(f"{GOOD}---\n{GOOD.replace('value: 1', 'wait: {}')}")]) == 2
    assert capsys.readouterr().err.startswith(str(write(GOOD)) + ":17: ")


def test_empty_documents_do_not_shift_the_lines(write, capsys):
    assert main(["lint", write(f"---\n---\n# nothing\n---\n{GOOD.replace('value: 1', 'wait: {}')}")]) == 2
    assert re.match(r".*:12: spec\.tasks\[0\]", capsys.readouterr().err)


def test_other_objects_in_a_file_are_not_judged(write):
    assert main(["lint", write(f"apiVersion: v1\nkind: Secret\nwhatever: 1\n---\n{GOOD}")]) == 0


def test_a_misspelt_api_version_is_found(write, capsys):
    assert main(["lint", write(GOOD.replace("flowweaver.io", "floweaver.io"))]) == 2
    assert "apiVersion" in capsys.readouterr().err


UNREADABLE = {
    "empty": b"",
    "only-comments": b"# nothing\n",
    "only-separators": b"---\n---\n",
    "binary": bytes(range(256)) * 50,
    "gzip": b"\x1f\x8b\x08\x00" + os.urandom(500),
    "nul": b"apiVersion: \x00\n",
    "utf-16": GOOD.encode("utf-16"),
    "latin-1": "name: Grüße".encode("latin-1"),
    "a-text": b"just a text\n",
    "a-list": b"- 1\n- 2\n",
    "a-number": b"42\n",
    "tabs": b"spec:\n\t- x\n",
    "unclosed": b"spec: [1, 2\n",
    "an-object-tag": b"!!python/object/apply:os.system [touch ran]\n",
    "an-alias-to-nothing": b"a: *b\n",
    "an-alias-to-itself": b"a: &b [*b]\n",
    "a-bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(ord("b"), ord("j"))),
    "deep-flow": b"[" * 20_000,
    "deep-blocks": b"".join(b" " * depth + b"a:\n" for depth in range(3000)),
    "a-wrong-spec": b"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\nmetadata: 3\nspec: [1]\n",
    "no-spec": b"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\n",
    "another-kind": b"apiVersion: flowweaver.io/v1alpha1\nkind: Job\nmetadata: {name: x}\nspec: {}\n",
    "infinity": b"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\nspec: .inf\n",
    "null-everywhere": b"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\nmetadata:\nspec:\n",
    "a-huge-number": b"apiVersion: flowweaver.io/v1alpha1\nkind: Workflow\nspec: " + b"9" * 5000 + b"\n",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_whatever_is_in_a_file_the_answer_is_a_line_with_its_name(name, write, capsys):
    file = write(UNREADABLE[name])

    status = main(["lint", file])

    errors = capsys.readouterr().err
    assert status == 2
    assert errors
    assert all(line.startswith(file) for line in errors.splitlines()), errors
    assert not Path("ran").exists()


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["lint", str(tmp_path / "nobody.yaml")]) == 2
    assert capsys.readouterr().err == f"{tmp_path}/nobody.yaml: can not be read: No such file or directory\n"


def test_a_folder_is_no_file(tmp_path, capsys):
    assert main(["lint", str(tmp_path)]) == 2
    assert "can not be read: Is a directory" in capsys.readouterr().err


def test_a_file_without_end_is_not_read_to_its_end():
    command = f"ulimit -v 1500000; exec {sys.executable} -m flowweaver lint /dev/zero"

    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 2
    assert result.stderr == "/dev/zero: is larger than 16 MiB, which is no manifest\n"


def test_one_bad_file_does_not_hide_the_others(write, tmp_path, capsys):
    bad = write(GOOD.replace("value: 1", "wait: {}"))

    assert main(["lint", str(tmp_path / "nobody.yaml"), bad]) == 2

    assert len(capsys.readouterr().err.splitlines()) >= 2


def test_the_line_of_a_problem_is_found_by_the_loader_in_c_and_is_the_same(monkeypatch):
    text = "---\n# a comment\nkind: Workflow\nspec:\n  tasks:\n    - name: a\n      dependsOn: [\n        b]\n---\n{}\n"
    problem = Problem(path="spec.tasks[0].dependsOn[0]", reason="Invalid", message="no")
    fast = Document("probe.yaml", text, 0, {}).finding(problem).line

    with monkeypatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        slow = Document("probe.yaml", text, 0, {}).finding(problem).line
    monkeypatch.setattr(yaml, "SafeLoader", None)

    assert yaml.__with_libyaml__, "this Python's PyYAML was built without libyaml"
    assert fast == slow == Document("probe.yaml", text, 0, {}).finding(problem).line == 8
