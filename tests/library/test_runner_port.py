"""What a runner tells those who ask while it runs: monitoring on its port, and systemd."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowweaver import RetryPolicy, SQLiteStateStore, Task, ThreadedExecutor, Workflow, WorkflowRunner
from flowweaver.library.runner_http import Metric, exposition
from flowweaver.library.runner_systemd import Notifier
from tests.monitoring.samples import samples
from tests.runners.attempts import eventually

PATIENCE = 60.0


@contextmanager
def running(tmp_path, **told):
    """A runner whose second task waits until the test is done with it."""
    begun, goes_on, statuses = threading.Event(), threading.Event(), []

    def wait():
        begun.set()
        assert goes_on.wait(PATIENCE)

    def first_fails(tries=[]):  # noqa: B006 - it is kept between attempts
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("not yet")

    workflow = Workflow("nightly")
    workflow.add_task(Task("first", first_fails, retries=1, retry=RetryPolicy(delay=0)))
    workflow.add_task(Task("second", wait), depends_on=["first"])
    workflow.add_task(Task("third", print), depends_on=["second"])
    executor = ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db"))
    runner = WorkflowRunner(workflow, executor, port=0, **told)
    thread = threading.Thread(target=lambda: statuses.append(runner.run()))
    thread.start()
    try:
        assert begun.wait(PATIENCE)
        yield runner
    finally:
        goes_on.set()
        thread.join(PATIENCE)
    assert statuses == [0]


def ask(runner, path, method="GET"):
    connection = http.client.HTTPConnection(runner.host, runner.port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/health", "/healthz", "/healthz?verbose=1"])
def test_it_is_healthy_while_it_runs(tmp_path, path):
    with running(tmp_path) as runner:
        status, headers, text = ask(runner, path)

    assert (status, text) == (200, "ok\n")
    assert headers["Content-Type"].startswith("text/plain")


def test_an_engine_that_does_not_move_is_not_healthy(tmp_path, monkeypatch):
    with running(tmp_path) as runner:
        monkeypatch.setattr("flowweaver.library.runner.DEAD_SECONDS", -1.0)
        status, _, text = ask(runner, "/health")

    assert status == 503
    assert "does not move" in text


def test_its_numbers_are_such_as_prometheus_reads(tmp_path):
    def counted():  # an end is counted after its commit, and so perhaps after the next task has begun
        status, headers, text = ask(runner, "/metrics")
        found = samples(text)
        return ("flowweaver_task_attempts_total", "completed") in found and (status, headers, text, found)

    with running(tmp_path) as runner:
        status, headers, text, found = eventually(counted)

    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert found["flowweaver_tasks", "completed"] == found["flowweaver_tasks", "running"] == 1
    assert found["flowweaver_tasks", "pending"] == 1
    assert found["flowweaver_task_attempts_total", "waiting"] == 1  # one attempt failed
    assert found["flowweaver_task_attempts_total", "completed"] == 1
    assert found["flowweaver_running_attempts",] == 1
    assert found["flowweaver_commits_total",] >= 3
    assert found["flowweaver_store_writable",] == 1
    assert found["flowweaver_up_since_seconds",] == pytest.approx(time.time(), abs=PATIENCE)
    assert "nightly" not in text  # labels are bounded


def test_a_label_can_hold_any_text():
    text = exposition([Metric("m", "gauge", "Help.", [({"of": 'a"b\\c\nd'}, 1.5)])])

    (family,) = text_string_to_metric_families(text)
    assert family.samples[0].labels == {"of": 'a"b\\c\nd'}


def test_other_paths_and_methods_get_nothing(tmp_path):
    with running(tmp_path) as runner:
        assert ask(runner, "/")[0] == 404
        assert ask(runner, "/../../etc/passwd")[0] == 404
        assert [ask(runner, "/health", method)[0] for method in ("POST", "DELETE", "PUT")] == [501] * 3
        assert ask(runner, "/health")[1]["Server"] == "flowweaver"
        with socket.create_connection((runner.host, runner.port), PATIENCE) as asking:
            asking.sendall(b"HEAD /health HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: asking.recv(1000), b""))

    assert answer.startswith(b"HTTP/1.0 200 ")
    assert answer.endswith(b"\r\n\r\n")  # and no text


def test_only_this_machine_can_ask_unless_it_is_told_otherwise(tmp_path):
    with running(tmp_path) as runner:
        assert runner.host == "127.0.0.1"
        other = socket.socket()
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", runner.port)) != 0
        other.close()
    with running(tmp_path, host="0.0.0.0") as runner:
        other = socket.create_connection(("127.0.0.2", runner.port), 5)
        other.close()


def test_a_client_that_says_nothing_keeps_nobody_waiting_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("flowweaver.library.runner_http.PATIENCE_SECONDS", 0.2)
    with running(tmp_path) as runner, socket.create_connection((runner.host, runner.port)) as silent:
        silent.sendall(b"GET /health")

        assert ask(runner, "/health")[0] == 200


def test_the_port_is_free_again_afterwards(tmp_path):
    with running(tmp_path) as runner:
        port = runner.port
    assert runner.port == 0

    runner = WorkflowRunner(Workflow("again"), port=port)

    assert runner.run() == 0


def test_a_port_that_is_taken_is_refused_in_one_line_and_nothing_runs(caplog):
    ran = []
    workflow = Workflow("nightly")
    workflow.add_task(Task("a", lambda: ran.append(1)))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert WorkflowRunner(workflow, port=port).run() == 2

    assert ran == []
    assert f"port {port} of 127.0.0.1 can not be had" in caplog.text


def test_without_a_port_no_server_is_even_loaded():
    code = (
        "import sys; from flowweaver import *\n"
        "w = Workflow('w'); w.add_task(Task('a', print)); WorkflowRunner(w).run()\n"
        "print([each for each in ('http.server', 'asyncio', 'pydantic') if each in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------------------------------------------------- systemd


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """A socket such as systemd listens on; gives a function that reads what came."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = str(tmp_path / "notify") if request.param == "path" else f"@flowweaver-test-{os.getpid()}"
        listening.bind(name.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", name)

        def heard(seconds=PATIENCE):
            listening.settimeout(seconds)
            return listening.recv(4096).decode()

        yield heard


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(systemd, tmp_path):
    code = (
        "import time; from flowweaver import *\n"
        "w = Workflow('nightly'); w.add_task(Task('a', lambda: time.sleep(60)))\n"
        "WorkflowRunner(w, grace_seconds=0).main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, cwd=tmp_path)

    assert systemd().splitlines() == ["READY=1", "STATUS=workflow 'nightly' is running"]
    process.terminate()
    assert systemd().splitlines()[0] == "STOPPING=1"
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143


def test_systemd_is_told_that_it_lives_as_long_as_the_engine_moves(systemd, tmp_path, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with running(tmp_path):
        heard = [systemd().splitlines()[0] for _ in range(4)]

    assert sorted(set(heard)) == ["READY=1", "WATCHDOG=1"]


def test_systemd_hears_nothing_of_an_engine_that_does_not_move(systemd, tmp_path, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.setattr("flowweaver.library.runner.DEAD_SECONDS", -1.0)

    with running(tmp_path):
        assert systemd().startswith("READY=1")
        with pytest.raises(TimeoutError):
            systemd(0.3)


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, None),  # without a socket there is nobody to tell
        ({"NOTIFY_SOCKET": "/nowhere"}, None),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "30000000"}, 15.0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_life_is_told_as_often_as_systemd_asks_for(environment, interval):
    notifier = Notifier(environment)

    assert notifier.interval == interval
    notifier.ready("nobody listens")  # and that is no error


def test_it_answers_by_the_newer_protocol_too(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")

    with running(tmp_path, host="::1") as runner:
        assert ask(runner, "/health")[0] == 200
