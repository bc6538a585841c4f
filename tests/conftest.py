"""What every test may ask for: a real API server, and what follows when there is none.

The fixtures themselves are in `tests/cluster/fixtures.py`; here is what pytest wants in its topmost conftest.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # so that tests can say `from tests.cluster import …` however pytest was called
    sys.path.insert(0, str(ROOT))

pytest_plugins = ["tests.cluster.fixtures"]

HOW_TO_GET = {
    "control_plane": "`make control-plane` builds it once, or KUBEBUILDER_ASSETS names a folder that has it",
    "node": "KUBECONFIG must name a cluster that runs pods, and kubectl be on PATH",
}
MEASURED = "measured"
WHAT = {"control_plane": "a control plane", "node": "a cluster that runs pods"}


@functools.cache
def _lacking(marker: str) -> str:
    """Why tests of that marker can not run here; empty where they can."""
    from tests.cluster import assets

    if marker == "control_plane":
        missing = assets.missing()
        return f"no {', '.join(missing)}; {HOW_TO_GET[marker]}" if missing else ""
    if not os.environ.get("KUBECONFIG"):
        return f"KUBECONFIG is not set; {HOW_TO_GET[marker]}"
    try:
        command = ["kubectl", "--request-timeout=10s", "get", "nodes", "-o", "name"]
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}; {HOW_TO_GET[marker]}"
    return "" if found.stdout.startswith("node/") else f"no nodes {found.stderr.strip()}; {HOW_TO_GET[marker]}"


def pytest_configure() -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and tests would wait for what never comes.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in HOW_TO_GET:
        if item.get_closest_marker(marker) is None or not (lacking := _lacking(marker)):
            continue
        message = f"needs {WHAT[marker]}: {lacking}"
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    for marker, what in WHAT.items():
        number = sum(f"needs {what}: " in str(report.longrepr) for report in skipped)
        if number:
            terminalreporter.section(
                f"{number} TESTS NOT RUN: there is no {what.removeprefix('a ')}", sep="!", red=True
            )
            terminalreporter.line(f"To run them: {HOW_TO_GET[marker]}.")

    reports = [report for found in terminalreporter.stats.values() for report in found]
    told = [value for report in reports for name, value in getattr(report, "user_properties", []) if name == MEASURED]
    if told:
        terminalreporter.section("measured")
        for line in dict.fromkeys(told):
            terminalreporter.line(line)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`measured("a start takes 3 ms")` puts a line into the summary: what was seen here, with no limit asserted."""
    return functools.partial(record_property, MEASURED)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show the logs of the processes that a failed test had started."""
    from tests.cluster import fixtures, processes

    report = yield
    if report.failed:
        for log in item.stash.get(fixtures.LOGS, []):
            report.sections.append((f"log of {log.name}", processes.tail(log, lines=60)))
    return report
