"""The benchmark beside an API server still runs, and measures what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT


@pytest.mark.slow
@pytest.mark.control_plane
def test_the_operator_is_measured_beside_a_bare_client(control_plane, measured):
    small = ["--objects", "20", "--crowd", "40", "--power", "3", "--quiet", "2"]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/cluster.py"), *small],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines if re.match(r" +(0|20) ", line)] == ["0", "20"]
    assert [line.split()[0] for line in lines if re.match(r" +(100|1000) ", line)] == ["100", "1000"]
    ratio = re.search(r"operator / bare client: ([\d.]+)", ended.stdout)
    assert ratio is not None
    assert float(ratio[1]) > 0
    measured(ended.stdout)
