"""The pictures of the command line in the docs: they are made from a real run, and need nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from tests.docs.blocks import ROOT

PICTURES = ("progress.svg", "failed-run.svg")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_docs_is_sound_and_loads_nothing(name):
    text = (ROOT / "docs" / "images" / name).read_text(encoding="utf-8")

    ET.fromstring(text)
    assert not re.search(r"url\((?!#)|@import|@font-face|href=|<script", text)
    assert "<title" in text


@pytest.mark.slow
def test_the_pictures_are_made_from_a_real_run(tmp_path):
    command = [sys.executable, str(ROOT / "docs" / "pictures.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=100)

    table, graph = ("".join(ET.parse(tmp_path / name).getroot().itertext()) for name in PICTURES)
    assert {"Running", "Waiting", "Failed", "Completed", "Skipped", "Pending"} <= set(re.findall(r"[A-Z][a-z]+", table))
    assert "Failed: 11 completed, 3 skipped, 1 failed" in graph
