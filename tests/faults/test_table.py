"""The page of failure modes names a test for each fault."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests/faults", "tests/chaos")


def rows():
    page = (ROOT / "docs/failure-modes.md").read_text("utf-8")
    table = page.partition("| fault | what happens | test |\n")[2].partition("\n\n")[0]
    return [line for line in table.splitlines() if not line.startswith("|---")]


def names():
    found = set()
    for folder in FOLDERS:
        for file in (ROOT / folder).glob("test_*.py"):
            found.update(re.findall(r"^def (test_\w+)", file.read_text("utf-8"), re.MULTILINE))
    return found


def test_each_fault_of_the_table_names_a_test_that_is_there():
    named = [re.fullmatch(r"\| .* \| .* \| `(test_\w+)` \|", row) for row in rows()]
    assert len(named) >= 15
    assert all(named), "a row names no test"
    missing = {match[1] for match in named} - names()
    assert not missing


def test_every_test_of_the_operator_under_faults_is_in_the_table():
    text = "\n".join(rows())
    for name in ("test_operator.py", "test_rebuilding.py"):
        inside = re.findall(r"^def (test_\w+)", (ROOT / "tests/faults" / name).read_text("utf-8"), re.MULTILINE)
        assert inside
        assert [each for each in inside if each not in text] == []
