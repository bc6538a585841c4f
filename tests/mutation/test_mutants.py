"""What is changed, and that a change that is made is noticed."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutation.mutants import enums_of, find, mutate

ROOT = Path(__file__).parents[2]
SOURCE = '''
class Phase(StrEnum):
    A = "a"
    B = "b"


def first(x: int, *, more: bool = True) -> str | None:
    """Says something."""
    if x < 3 and more:
        x += 1
        return f"{x:g}"
    report(x, phase=Phase.A)
    return None
'''


def mutants_of(source: str):
    enums = enums_of(source)
    return [(mutant, ast.unparse(mutate(source, mutant, enums))) for mutant in find("m", source, enums)]


def test_every_kind_of_change_is_made_once_and_each_changes_the_code():
    found = {(mutant.line, mutant.what) for mutant, _ in mutants_of(SOURCE)}
    assert found == {
        (3, "'a' is another text"),
        (4, "'b' is another text"),
        (7, "True is False"),
        (9, "And is Or"),
        (9, "if x < 3 and more always"),
        (9, "if x < 3 and more never"),
        (9, "without x < 3"),
        (9, "without more"),
        (9, "Lt is LtE"),
        (9, "3 is 4"),
        (10, "Add is Sub"),
        (10, "1 is 2"),
        (10, "without x += 1"),
        (11, "return None"),
        (11, "no text"),
        (12, "without report(x, phase=Phase.A)"),
        (12, "without phase=Phase.A"),
        (12, "A is B"),
    }
    changed = [code for _, code in mutants_of(SOURCE)]
    assert ast.unparse(ast.parse(SOURCE)) not in changed
    assert len(set(changed)) == len(changed) == len(found)


def test_what_is_done_in_a_function_is_told_from_what_is_done_at_the_start():
    places = {mutant.line: mutant.place for mutant, _ in mutants_of(SOURCE)}
    assert places == {3: "", 4: "", 7: "", 9: "first", 10: "first", 11: "first", 12: "first"}


def test_each_mutant_of_the_core_that_no_test_can_notice_is_one_and_has_a_reason():
    folder = ROOT / "src/flowweaver/core"
    sources = {path.stem: path.read_text() for path in folder.glob("[a-z]*.py")}
    enums = {name: members for source in sources.values() for name, members in enums_of(source).items()}
    there = {(m.module, m.text, m.what) for name, source in sources.items() for m in find(name, source, enums)}
    for entry in tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text()).get("equivalent", []):
        assert (entry["module"], entry["text"], entry["what"]) in there, f"{entry} is out of date: run `make mutation`"
        assert len(entry["why"]) > 20


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_of_a_sample_nine_in_ten_are_noticed():
    command = [sys.executable, "-m", "tests.mutation", "backoff", "decide", "drafts", "--every", "12"]
    source = Path(importlib.util.find_spec("flowweaver").submodule_search_locations[0]).parent
    environment = {**os.environ, "PYTHONPATH": str(source)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
    assert "noticed: " in result.stdout
