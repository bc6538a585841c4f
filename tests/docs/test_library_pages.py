"""What the pages about the library show runs and prints what they say, and the reference has every public name."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowweaver
from tests.docs.blocks import ROOT, of, programs

REFERENCE = "docs/API_REFERENCE.md"


def run_page(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    shutil.copytree(ROOT / "examples", folder / "examples")
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_page", page],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.parametrize("page", programs())
def test_what_a_page_shows_runs_and_prints_what_it_says(page, tmp_path):
    result = run_page(page, tmp_path)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_pages_about_the_library_are_programs():
    assert {"README.md", REFERENCE, "docs/BEST_PRACTICES.md", "docs/moving.md"} <= set(programs())


def test_every_public_name_has_a_heading_or_a_row_in_the_reference():
    places = re.findall(r"^(?:#+ .+|\| `\w+` \|)", (ROOT / REFERENCE).read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for place in places for name in re.findall(r"`(\w+)`", place)}

    assert set(flowweaver.__all__) - named == set()


@pytest.mark.parametrize("block", of("text signature"), ids=str)
def test_a_signature_in_the_docs_is_that_of_the_code(block):
    for shown in re.findall(r"^[\w.]+\(.*?\)$", block.text, re.MULTILINE | re.DOTALL):
        name = shown.partition("(")[0]

        assert one_line(shown) == f"{name}({parameters(found(name))})"


def found(name: str) -> Callable[..., Any]:
    """What a dotted name of `flowweaver` is."""
    value: Any = flowweaver
    for part in name.split("."):
        value = getattr(value, part)
    return value


def one_line(shown: str) -> str:
    return re.sub(r"\s+", " ", shown).replace("( ", "(").replace(", )", ")").replace(" )", ")")


def parameters(function: Callable[..., Any]) -> str:
    """How it is called: names and defaults, without types and without `self`."""
    signature = inspect.signature(function)
    shown = [
        each.replace(annotation=each.empty, default=Shown(each.default))
        if each.default is not each.empty
        else each.replace(annotation=each.empty)
        for each in signature.parameters.values()
        if each.name not in {"self", "cls"}
    ]
    return str(inspect.Signature(shown))[1:-1]


class Shown:
    """A default as somebody would write it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        value = self.value
        if isinstance(value, tuple):
            return "(" + ", ".join(repr(Shown(each)) for each in value) + ("," if len(value) == 1 else "") + ")"
        if isinstance(value, enum.Enum):
            return f"{type(value).__name__}.{value.name}"
        if isinstance(value, type):
            return value.__name__
        if dataclasses.is_dataclass(value) and value == type(value)():
            return f"{type(value).__name__}()"
        return repr(value)
