"""A real Prometheus scrapes a real operator, and each shipped alert is made to fire by a fault of its kind.

An hour passes in a minute: every duration in the rules is a sixtieth of the shipped one, and nothing else is changed.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.control_plane import Access
from tests.cluster.faults import WATCHES, FaultProxy, Match
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import await_phase, finish, phase_of, workflow
from tests.faults.volumes import small_volume
from tests.monitoring.prometheus import RULES, Prometheus, an_hour_in_a_minute

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]

STATUSES = Match(method="PATCH", path="/status$")
QUICK_RULES = an_hour_in_a_minute(RULES.read_text())
SHOWN: dict[str, str] = {
    "FlowWeaverGone": "test_an_operator_that_is_killed_again_and_again_and_then_gone",
    "FlowWeaverRestartLoop": "test_an_operator_that_is_killed_again_and_again_and_then_gone",
    "FlowWeaverNotReady": "test_an_api_server_that_is_silent_slow_and_away",
    "FlowWeaverQueueSlow": "test_an_api_server_that_is_silent_slow_and_away",
    "FlowWeaverStatusLag": "test_an_api_server_that_is_silent_slow_and_away",
    "FlowWeaverWatchStale": "test_an_api_server_that_is_silent_slow_and_away",
    "FlowWeaverStoreNotWritable": "test_a_volume_that_is_slow_and_then_full",
    "FlowWeaverStoreErrors": "test_a_volume_that_is_slow_and_then_full",
    "FlowWeaverDiskFilling": "test_a_volume_that_is_slow_and_then_full",
    "FlowWeaverCommitSlow": "test_a_volume_that_is_slow_and_then_full",
    "FlowWeaverBackupTooOld": "test_a_volume_that_is_slow_and_then_full",
    "FlowWeaverFailureRatio": "test_bodies_that_fail_hang_and_take_all_workers",
    "FlowWeaverBodiesAbandoned": "test_bodies_that_fail_hang_and_take_all_workers",
    "FlowWeaverWorkersSaturated": "test_bodies_that_fail_hang_and_take_all_workers",
}


@contextmanager
def watched(folder: Path, operator: Operator) -> Iterator[Prometheus]:
    """A Prometheus that has seen the operator well, and fires nothing."""
    with Prometheus(folder / "prometheus", targets=[operator.port], rules=QUICK_RULES) as prometheus:
        await_true("it was scraped", lambda: prometheus.number("flowweaver_ready") == 1)
        time.sleep(6)  # longer than most alerts wait, so that one that fires for nothing would be seen
        await_true("nothing fires", lambda: prometheus.alerts() == {})  # what fired before the first scrape has ended
        yield prometheus


def test_each_shipped_alert_is_shown_firing() -> None:
    names = [rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    assert sorted(SHOWN) == sorted(names)
    for name, test in SHOWN.items():
        source = Path(__file__).read_text().partition(f"def {test}(")[2].partition("\ndef ")[0]
        assert f'await_alert("{name}"' in source, f"{test} does not show {name}"


def test_an_operator_that_is_killed_again_and_again_and_then_gone(
    operator: Callable[..., Operator], tmp_path: Path
) -> None:
    running = operator()
    with watched(tmp_path, running) as prometheus:
        openings = prometheus.number("flowweaver_store_openings")
        for _ in range(4):
            running.kill()
            running.start()
            openings += 1
            await_openings(prometheus, openings)
        prometheus.await_alert("FlowWeaverRestartLoop", seconds=30)
        running.kill()
        prometheus.await_alert("FlowWeaverGone", seconds=30)
        running.start()
        await_true("it is back", lambda: "FlowWeaverGone" not in prometheus.alerts(), seconds=30)


def test_an_api_server_that_is_silent_slow_and_away(
    operator: Callable[..., Operator], kubectl: Kubectl, control_plane: Access, tmp_path: Path
) -> None:
    with FaultProxy(control_plane) as proxy:
        running = operator(api=proxy.url)
        with watched(tmp_path, running) as prometheus:
            kubectl.apply(workflow("before", {"name": "hello", "value": 1}))
            finish(kubectl, "before")
            with proxy.hold(STATUSES):
                kubectl.apply(workflow("unseen", {"name": "hello", "value": 1}))
                prometheus.await_alert("FlowWeaverStatusLag", seconds=60)
            await_phase(kubectl, "unseen", "Completed")

            with proxy.delay(3.0, Match(path="/workflows/many-")):
                kubectl.apply(*(workflow(f"many-{number}", {"name": "t", "value": 1}) for number in range(40)))
                prometheus.await_alert("FlowWeaverQueueSlow", seconds=120)

            assert proxy.stall(WATCHES), "what is open stays silent from now on"
            kubectl.apply(workflow("not-seen", {"name": "hello", "value": 1}))
            prometheus.await_alert("FlowWeaverWatchStale", seconds=90)
            assert phase_of(kubectl, "not-seen") == "Pending", "nobody has looked at it"
            with proxy.away():
                prometheus.await_alert("FlowWeaverNotReady", seconds=60)
            assert finish(kubectl, "not-seen")["phase"] == "Completed"
            await_true("it is ready again", lambda: "FlowWeaverNotReady" not in prometheus.alerts(), seconds=90)


def test_a_volume_that_is_slow_and_then_full(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "volume", "24m") as volume, small_volume(tmp_path / "backups", "64m") as backups:
        running = operator(
            state=volume.folder / "state.db",
            unsafeBodies=["shell"],
            env={"FLOWWEAVER_BACKUP_FOLDER": str(backups.folder), "FLOWWEAVER_BACKUP_EVERY": "3s"},
        )
        with watched(tmp_path, running) as prometheus:
            await_true("a backup is written", lambda: prometheus.number("flowweaver_backups_total") >= 1)
            backups.fill()

            pause = {"shell": {"script": "sleep 0.1"}}
            steps = [{"name": f"t{n}", "dependsOn": [f"t{n - 1}"] if n else [], **pause} for n in range(300)]
            kubectl.apply(workflow("busy", *steps))
            with locked_again_and_again(volume.folder / "state.db"):
                prometheus.await_alert("FlowWeaverCommitSlow", seconds=90)
            prometheus.await_alert("FlowWeaverBackupTooOld", seconds=30)

            volume.fill()
            prometheus.await_alert("FlowWeaverStoreErrors", seconds=60)
            prometheus.await_alert("FlowWeaverStoreNotWritable", seconds=30)
            prometheus.await_alert("FlowWeaverDiskFilling", seconds=60)
            volume.free_some(1 << 30)
            await_true("it goes on", lambda: prometheus.number("flowweaver_store_writable") == 1, seconds=60)


def test_bodies_that_fail_hang_and_take_all_workers(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    running = operator(workers=2, unsafeBodies=["python.source", "thread", "shell"])
    hanging = {
        "name": "hangs",
        "timeout": "1s",
        "python": {"source": "import time\ndef main(): time.sleep(90)", "isolation": "Thread"},
    }
    sleeping = {"shell": {"script": "sleep 90"}}
    with watched(tmp_path, running) as prometheus:
        failing = [workflow(f"fails-{number}", {"name": "t", "shell": {"script": "exit 1"}}) for number in range(6)]
        kubectl.apply(*failing, workflow("hangs", hanging))
        await_true("the body was given up", lambda: prometheus.number("flowweaver_attempts_abandoned") == 1)
        kubectl.apply(workflow("many", *({"name": f"t{number}", **sleeping} for number in range(4))))
        prometheus.await_alert("FlowWeaverFailureRatio", seconds=60)
        prometheus.await_alert("FlowWeaverBodiesAbandoned", seconds=60)
        prometheus.await_alert("FlowWeaverWorkersSaturated", seconds=90)


def await_openings(prometheus: Prometheus, number: float) -> None:
    """Until it has seen that the state file was opened so often."""
    await_true("the start was seen", lambda: prometheus.number("flowweaver_store_openings") == number)


@contextmanager
def locked_again_and_again(state: Path) -> Iterator[None]:
    """Another process keeps the write lock of the state file for more than a second, again and again."""
    program = textwrap.dedent("""\
        import sqlite3, sys, time
        with_lock = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
        while True:
            with_lock.execute("BEGIN IMMEDIATE")
            time.sleep(1.2)
            with_lock.execute("ROLLBACK")
            time.sleep(0.2)
    """)
    locker = subprocess.Popen([sys.executable, "-c", program, str(state)])
    try:
        yield
    finally:
        assert locker.poll() is None, "it has kept the lock until now"
        locker.kill()
        locker.wait()
