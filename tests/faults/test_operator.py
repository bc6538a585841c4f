"""The operator on a volume that is full, read-only, broken, damaged or emptied: what one sees, and how it goes on.

The volumes are real file systems, which only root can mount.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import HELLO, edit
from tests.cluster.workflows import await_phase, condition, events_of, finish, status_of, workflow
from tests.faults.bodies import Bodies
from tests.faults.volumes import Disk, Volume, small_disk, small_volume

pytestmark = [pytest.mark.control_plane, pytest.mark.slow]

SEEN_SECONDS = 5.0
BACK_SECONDS = 30.0
LARGE = "head -c 900000 /dev/zero | tr '\\0' x"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    with small_volume(tmp_path / "volume", "8m") as mounted:
        yield mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", 16 << 20) as mounted:
        yield mounted


def said(running: Operator, path: str) -> tuple[int, str]:
    try:
        answer = running.get(path)
    except httpx.HTTPError:
        return 0, ""
    return answer.status_code, answer.text


def is_unready_for_its_store(running: Operator) -> bool:
    status, text = said(running, "/readyz")
    return status == 503 and "store: " in text


def await_unready(running: Operator) -> float:
    """Wait until readiness has gone because of the store; gives how long that took."""
    began = time.monotonic()
    await_true("readiness has gone", lambda: is_unready_for_its_store(running), seconds=SEEN_SECONDS)
    return time.monotonic() - began


def await_back(running: Operator) -> float:
    began = time.monotonic()
    await_true("it goes on by itself", lambda: said(running, "/readyz")[0] == 200, seconds=BACK_SECONDS)
    return time.monotonic() - began


def number(running: Operator, series: str) -> float:
    found = [line for line in running.get("/metrics").text.splitlines() if line.startswith(f"{series} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def is_taken_in(kubectl: Kubectl, name: str) -> bool:
    return bool(status_of(kubectl, name).get("conditions"))


def task_phase(kubectl: Kubectl, name: str, task: str) -> str:
    return {each["name"]: each["phase"] for each in status_of(kubectl, name).get("tasks", [])}.get(task, "")


def await_completed(kubectl: Kubectl, name: str, task: str) -> None:
    await_true(f"{task} is reported", lambda: task_phase(kubectl, name, task) == "Completed", every_seconds=0.2)


def test_a_full_volume_stops_the_intake_and_nothing_is_lost_and_it_goes_on_when_there_is_room(
    operator: Callable[..., Operator],
    kubectl: Kubectl,
    volume: Volume,
    bodies: Bodies,
    measured: Callable[[str], None],
) -> None:
    running = operator(state=volume.folder / "state.db", unsafeBodies=["shell"])
    tasks = bodies.task("a"), bodies.task("b", "a", prints=LARGE), bodies.task("c", "b"), bodies.task("d", "c")
    kubectl.apply(workflow("chain", *tasks))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    await_true("b runs", lambda: bodies.ran() == ["a", "b"])
    volume.fill()
    seen = await_unready(running)
    assert "free some space" in said(running, "/readyz")[1]
    assert said(running, "/healthz")[0] == 200

    kubectl.apply(workflow("during", HELLO))
    bodies.go("b")
    series = 'flowweaver_store_errors_total{kind="full"}'
    await_true("the end of b can not be recorded", lambda: number(running, series) > 2)
    assert number(running, "flowweaver_store_writable") == 0.0
    assert bodies.ran() == ["a", "b"], "a task was started whose cause is not recorded"
    assert not is_taken_in(kubectl, "during")
    assert task_phase(kubectl, "chain", "b") != "Completed", "what is not durable was acknowledged"

    volume.hog.unlink()
    back = await_back(running)
    bodies.go("c", "d")
    assert finish(kubectl, "during")["phase"] == "Completed"
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran() == ["a", "b", "c", "d"]
    assert number(running, "flowweaver_store_writable") == 1.0
    measured(f"full volume: not ready after {seen:.1f} s, ready {back:.1f} s after there was room")


def test_an_operator_on_a_full_volume_ends_when_it_is_told_to_and_waits_for_room_when_it_starts(
    operator: Callable[..., Operator], kubectl: Kubectl, volume: Volume, bodies: Bodies
) -> None:
    running = operator(state=volume.folder / "state.db", unsafeBodies=["shell"], graceSeconds=600)
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a", prints=LARGE), bodies.task("c", "b")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    await_true("b runs", lambda: bodies.ran() == ["a", "b"])
    volume.fill()
    bodies.go("b")
    await_unready(running)
    assert running.terminate() == 0

    volume.fill()
    running.start(ready=False)
    await_true("it says why it does not start", lambda: is_unready_for_its_store(running))
    assert said(running, "/healthz")[0] == 200
    assert number(running, "flowweaver_store_writable") == 0.0
    assert number(running, 'flowweaver_store_errors_total{kind="full"}') > 0
    assert running.output().count("nothing runs until the state file can be used") == 1
    volume.hog.unlink()
    await_back(running)
    bodies.go("c")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran() == ["a", "b", "b", "c"], "only b, which could not be recorded, runs again"


def test_a_read_only_volume_is_waited_for_and_gone_on_with_when_it_is_writable(
    operator: Callable[..., Operator], kubectl: Kubectl, disk: Disk, bodies: Bodies
) -> None:
    running = operator(state=disk.folder / "state.db", unsafeBodies=["shell"])
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    running.kill()
    disk.remount("ro")
    running.start(ready=False)
    await_true("it says why it does not start", lambda: is_unready_for_its_store(running))
    assert "mount it read-write again" in said(running, "/readyz")[1]
    assert number(running, 'flowweaver_store_errors_total{kind="readonly"}') > 0
    disk.remount("rw")
    await_back(running)
    bodies.go("b")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran().count("a") == 1


def test_a_file_system_that_breaks_down_stops_the_intake_and_loses_nothing_acknowledged(
    operator: Callable[..., Operator],
    kubectl: Kubectl,
    disk: Disk,
    bodies: Bodies,
    measured: Callable[[str], None],
) -> None:
    running = operator(state=disk.folder / "state.db", unsafeBodies=["shell"])
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a"), bodies.task("c", "b")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    await_true("b runs", lambda: bodies.ran() == ["a", "b"])
    disk.break_down()
    bodies.go("b")
    seen = await_unready(running)
    kubectl.apply(workflow("during", HELLO))
    await_true("it is counted", lambda: number(running, 'flowweaver_store_errors_total{kind="readonly"}') > 0)
    assert bodies.ran() == ["a", "b"]
    assert not is_taken_in(kubectl, "during")
    running.kill()  # nobody can mend a file system of which a file is open
    disk.mend()
    running.start()
    bodies.go("c")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert finish(kubectl, "during")["phase"] == "Completed"
    assert bodies.ran().count("a") == 1
    measured(f"broken file system: not ready after {seen:.1f} s")


def overwrite_pages(path: Path, first: int = 1) -> None:
    """Every page but the first ones."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(first * 4096)
        file.write(b"\xa5" * (size - first * 4096))


def brought_in(path: Path) -> None:
    """Have everything of a file that nobody has open in the file itself."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def test_a_damaged_file_is_refused_at_the_start_with_what_to_do_and_a_repaired_one_gone_on_with(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    running.kill()
    brought_in(running.state)
    shutil.copy(running.state, tmp_path / "whole")
    overwrite_pages(running.state)
    running.start(ready=False)
    await_true("it says why it does not start", lambda: is_unready_for_its_store(running))
    text = said(running, "/readyz")[1]
    assert "is damaged" in text
    assert "restore a backup" in text
    assert said(running, "/healthz")[0] == 200
    assert number(running, 'flowweaver_store_errors_total{kind="corrupt"}') > 0
    time.sleep(3.0)  # it looks again meanwhile, and neither ends nor repeats itself
    assert running.running
    assert running.output().count("nothing runs until the state file can be used") == 1

    shutil.copy(tmp_path / "whole", running.state)
    await_back(running)
    bodies.go("b")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran().count("a") == 1


def test_pages_that_are_damaged_under_a_running_operator_end_it_and_its_next_life_waits(
    operator: Callable[..., Operator],
    kubectl: Kubectl,
    tmp_path: Path,
    bodies: Bodies,
    measured: Callable[[str], None],
) -> None:
    running = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    running.kill()
    brought_in(running.state)
    shutil.copy(running.state, tmp_path / "whole")
    running.start()
    await_true("b runs again", lambda: bodies.ran() == ["a", "b", "b"])
    began = time.monotonic()
    overwrite_pages(running.state)
    await_true("nothing is taken in", lambda: said(running, "/readyz")[0] != 200, seconds=SEEN_SECONDS)
    seen = time.monotonic() - began
    assert running.wait() == 1
    assert "is damaged" in running.output()
    running.kill()
    running.start(ready=False)
    await_true("it says why it does not start", lambda: is_unready_for_its_store(running))
    for rest in running.state.parent.glob("state.db-*"):
        rest.unlink()
    shutil.copy(tmp_path / "whole", running.state)  # a backup, older than what was reported
    await_back(running)
    await_true("it is held", lambda: condition(status_of(kubectl, "chain"), "Stalled") == ("True", "StateLost"))
    edit(kubectl, "chain", rerun="go on")
    bodies.go("b")
    assert finish(kubectl, "chain")["phase"] == "Completed"
    assert bodies.ran().count("a") == 1
    measured(f"damaged pages: not ready after {seen:.1f} s")


def test_a_state_file_that_is_deleted_while_it_is_in_use_counts_as_a_lost_volume(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("chain", bodies.task("a"), bodies.task("b", "a")))
    bodies.go("a")
    await_completed(kubectl, "chain", "a")
    for found in running.state.parent.glob(f"{running.state.name}*"):
        found.unlink()
    await_unready(running)
    assert "bring it back within seconds" in said(running, "/readyz")[1]
    assert running.wait() == 1
    running.kill()
    running.start()
    await_true("it is reported", lambda: condition(status_of(kubectl, "chain"), "Stalled") == ("True", "StateLost"))


def test_an_idle_operator_whose_log_is_deleted_opens_its_file_again_and_has_lost_nothing(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    running = operator()
    kubectl.apply(workflow("before", HELLO))
    assert finish(kubectl, "before")["phase"] == "Completed"
    Path(f"{running.state}-wal").unlink()
    await_true("it has opened its file again", lambda: "the store can be used again" in running.output())
    await_back(running)
    kubectl.apply(workflow("after", HELLO))
    assert finish(kubectl, "after")["phase"] == "Completed"
    running.kill()
    with sqlite3.connect(running.state) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE phase = 'completed'").fetchall() == [(2,)]
    connection.close()


def test_a_damaged_run_is_held_with_the_reason_and_the_others_go_on(
    operator: Callable[..., Operator], kubectl: Kubectl, bodies: Bodies
) -> None:
    running = operator(unsafeBodies=["shell"])
    kubectl.apply(workflow("bad", bodies.task("a"), bodies.task("b", "a")), workflow("good", bodies.task("c")))
    bodies.go("a")
    await_completed(kubectl, "bad", "a")
    await_phase(kubectl, "good", "Running")
    running.kill()
    with sqlite3.connect(running.state) as connection:
        connection.execute(
            "UPDATE plans SET plan = substr(plan, 1, 30) WHERE run = (SELECT key FROM runs WHERE workflow LIKE '%/bad')"
        )
    connection.close()
    running.start()
    bodies.go("c")
    assert finish(kubectl, "good")["phase"] == "Completed"
    await_true("the damaged one is held", lambda: condition(status_of(kubectl, "bad"), "Stalled")[0] == "True")
    status = status_of(kubectl, "bad")
    assert condition(status, "Stalled") == ("True", "StateLost")
    assert "can not be read" in status["message"]
    await_true("an Event tells of it", lambda: "StateLost" in events_of(kubectl, "bad"))
    assert bodies.ran().count("a") == 1

    edit(kubectl, "bad", rerun="go on")
    bodies.go("b")
    assert finish(kubectl, "bad")["phase"] == "Completed"
    kubectl("delete", "fw", "bad", "--timeout=30s", timeout_seconds=40)
