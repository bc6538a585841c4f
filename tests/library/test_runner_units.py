"""The units and the crontab of the examples: what they start does run, and ends as they say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SYSTEMD = EXAMPLES / "systemd"
PATIENCE = 60.0


@pytest.fixture
def here(tmp_path):
    """Rewrites a line of the examples for this machine, and makes what it names."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("twelve bytes")
    (tmp_path / "state").mkdir()
    paths = {
        "/opt/nightly/venv/bin/python": sys.executable,
        "/opt/nightly/nightly.py": str(SYSTEMD / "nightly.py"),
        "/usr/share": str(tmp_path / "folder"),
        "/var/lib/nightly": str(tmp_path / "state"),
        "--port 5000": "--port 0",
    }

    def rewrite(text):
        for wanted, found in paths.items():
            text = text.replace(wanted, found)
        return text

    return rewrite


def shell(command, **more):
    """Run it as cron does: exit status, standard output and standard error. Nothing of it outlives this."""
    with subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **more,
    ) as process:
        try:
            out, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, out, said


def unit(name):
    parser = RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str
    parser.read(SYSTEMD / name)
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_units(here, tmp_path):
    for name in ("nightly.service", "nightly.timer"):
        (tmp_path / name).write_text(here((SYSTEMD / name).read_text()))

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "nightly.service", tmp_path / "nightly.timer"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert str(tmp_path) not in done.stderr  # it may find fault with units of the machine
    assert "nightly" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_the_timers_calendar_is_one():
    calendar = unit("nightly.timer")["Timer"]["OnCalendar"]

    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=True)

    assert "Next elapse" in done.stdout


def test_what_the_service_starts_tells_systemd_and_writes_its_report(here, tmp_path):
    service = unit("nightly.service")["Service"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        environment = {
            "STATE_DIRECTORY": str(tmp_path / "state"),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": f"{int(service['WatchdogSec']) * 1_000_000}",
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(
            here(service["ExecStart"]).split(),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            timeout=PATIENCE,
        )

        assert done.returncode == 0, done.stderr
        assert systemd.recv(1000).startswith(b"READY=1")
    assert re.search(r"\b12 bytes +1 files  \.txt", (tmp_path / "state" / "report.txt").read_text())
    assert (tmp_path / "state" / "nightly.db").exists()


def test_the_service_counts_as_success_what_is_no_failure_and_leaves_time_for_the_grace_period():
    service = unit("nightly.service")["Service"]
    grace = re.search(r"grace_seconds=(\d+)", (SYSTEMD / "nightly.py").read_text())

    assert service["Type"] == "notify"
    assert {128 + signal.SIGTERM, 75} == {int(status) for status in service["SuccessExitStatus"].split()}
    assert int(service["TimeoutStopSec"]) >= int(grace[1]) + 5
    assert service["KillMode"] == "mixed"


def lines_of_the_crontab():
    """Schedule and command of each line."""
    found = []
    for line in (EXAMPLES / "crontab").read_text().splitlines():
        if line and not line.startswith("#") and not re.match(r"[A-Z]+=", line):
            *schedule, command = line.split(None, 5)
            found.append((schedule, command))
    return found


def test_the_crontab_has_lines_that_cron_takes():
    limits = [59, 23, 31, 12, 7]
    assert len(lines_of_the_crontab()) == 2
    for schedule, command in lines_of_the_crontab():
        assert all(
            field == "*" or (field.isdecimal() and int(field) <= limit)
            for field, limit in zip(schedule, limits, strict=True)
        )
        assert "%" not in command  # which means the end of the line to cron


@pytest.mark.parametrize("number", [0, 1])
def test_a_line_of_the_crontab_runs_each_night_anew_and_prints_nothing(here, tmp_path, number):
    command = here(lines_of_the_crontab()[number][1])
    for _ in range(2):
        assert shell(command, env={"PATH": "/usr/bin:/bin"}) == (0, "", "")

    log = (tmp_path / "state" / "log").read_text()
    assert log.count("workflow 'nightly' has completed") == 2
    assert log.count("task 'write' has completed") == 2


def test_a_line_of_the_crontab_prints_what_root_should_read_when_it_fails(here, tmp_path):
    command = here(lines_of_the_crontab()[0][1])
    (tmp_path / "state" / "nightly.db").write_bytes(b"no database " * 1000)

    said = f"nightly: exit status 1, see {tmp_path}/state/log\n"
    assert shell(command) == (0, said, "")


def test_a_line_of_the_crontab_is_quiet_where_another_one_is_at_it(here, tmp_path):
    command = here(lines_of_the_crontab()[0][1])
    code = (
        "import sys, time; from flowweaver import SQLiteStateStore\n"
        f"with SQLiteStateStore({str(tmp_path / 'state' / 'nightly.db')!r}).opened(): print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        try:
            other.stdout.readline()
            assert shell(command) == (0, "", "")
        finally:
            other.kill()

    assert f"is held by pid {other.pid} on " in (tmp_path / "state" / "log").read_text()
