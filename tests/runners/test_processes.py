"""Processes of tasks: that they are told of, killed with all that they started, and never outlive anybody."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from flowweaver.policy import Policy
from flowweaver.runners import registry, run_attempt
from flowweaver.runners.environment import MARK
from flowweaver.runners.proc import read_stat
from flowweaver.runners.processes import LAUNCHER
from tests.runners.attempts import (
    PATIENCE_SECONDS,
    attempt_of,
    eventually,
    failure_of,
    is_alive,
    number_in,
    own_children,
    result_of,
    run,
)

SLEEPER = """\
import os, subprocess, time, signal
def main(file, grandchild, deaf=False, session=False):
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command = ["sh", "-c", f"trap '' TERM; echo $$ > {grandchild}; exec sleep 600"]
    subprocess.Popen(command, process_group=0 if session else None)
    with open(file, "w") as out:
        out.write(f"{os.getpid()}\\n")
    time.sleep(600)
"""


class InThread:
    """An attempt that runs in a thread of its own."""

    def __init__(self, attempt):
        self.attempt = attempt
        self._outcomes = []
        self._thread = threading.Thread(target=lambda: self._outcomes.append(run(attempt)))
        self._thread.start()

    def outcome(self):
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the attempt did not end"
        return self._outcomes[0]


def python(source, args=None, **attempt):
    return attempt_of("python", {"source": source, "args": args or {}, "isolation": "Process"}, **attempt)


@pytest.fixture
def sleeping(tmp_path):
    def sleeping(**args):
        paths = {"file": str(tmp_path / "child"), "grandchild": str(tmp_path / "grandchild")}
        running = InThread(python(SLEEPER, {**paths, **args}))
        return running, *(eventually(lambda name=name: number_in(tmp_path / name)) for name in ("child", "grandchild"))

    return sleeping


def test_a_process_is_told_of_before_the_body_begins(tmp_path):
    told = []

    def on_process(process):
        assert not (tmp_path / "begun").exists()
        told.append((process.pid, process.started, read_stat(process.pid).started, os.getsid(process.pid)))

    source = (
        "import os, pathlib\ndef main(file):\n    pathlib.Path(file).touch()\n    return [os.getpid(), os.getsid(0)]"
    )
    result = result_of(run(python(source, {"file": str(tmp_path / "begun")}, on_process=on_process)))
    assert len(told) == 1
    pid, started, seen, session = told[0]
    assert started == seen
    assert result == [pid, pid] == [session, session]


def test_a_cancelled_process_ends_at_once_with_all_of_its_group(sleeping):
    running, child, grandchild = sleeping()
    running.attempt.cancellation.request()
    failure = failure_of(running.outcome())
    assert failure.error_type == "Cancelled"
    eventually(lambda: not is_alive(child) and not is_alive(grandchild))


def test_a_process_that_ignores_the_signal_is_killed(sleeping):
    running, child, grandchild = sleeping(deaf=True)
    running.attempt.cancellation.request()
    assert "signal 9" in failure_of(running.outcome()).message
    eventually(lambda: not is_alive(child) and not is_alive(grandchild))


def test_a_grandchild_in_a_group_of_its_own_is_killed_too(sleeping):
    running, child, grandchild = sleeping(session=True)
    running.attempt.cancellation.request()
    running.outcome()
    eventually(lambda: not is_alive(child) and not is_alive(grandchild))


def test_a_process_that_is_cancelled_before_it_begins_ends():
    attempt = python("import time\ndef main():\n    time.sleep(600)")
    attempt.cancellation.request()
    assert failure_of(run(attempt)).error_type == "Cancelled"


def test_a_cancellation_that_comes_after_the_end_hits_nobody():
    attempts = [python("def main():\n    return 1") for _ in range(3)]
    for attempt in attempts:
        assert result_of(run(attempt)) == 1
        attempt.cancellation.request()
    assert result_of(run(python("def main():\n    return 2"))) == 2


def test_what_a_body_leaves_running_is_killed_when_it_returns(tmp_path):
    source = (
        "import subprocess, time, pathlib\n"
        "def main(file):\n"
        "    subprocess.Popen(['sh', '-c', f'echo $$ > {file}; exec sleep 600'])\n"
        "    while not pathlib.Path(file).exists() or not pathlib.Path(file).read_text():\n"
        "        time.sleep(0.005)\n"
        "    return 'done'"
    )
    assert result_of(run(python(source, {"file": str(tmp_path / "left")}))) == "done"
    left = eventually(lambda: number_in(tmp_path / "left"))
    eventually(lambda: not is_alive(left))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os\ndef main():\n    os._exit(3)", "exit code 3"),
        ("import os\ndef main():\n    os._exit(0)", "exit code 0"),
        ("import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
        ("import os, signal\ndef main():\n    os.killpg(0, signal.SIGTERM)", "signal 15"),
    ],
)
def test_a_process_that_dies_without_an_answer_fails_its_attempt_alone(source, words):
    failure = failure_of(run(python(source)))
    assert failure.error_type == "ProcessDied"
    assert words in failure.message
    assert failure.retryable
    assert result_of(run(python("def main():\n    return 1"))) == 1


@pytest.mark.parametrize(
    ("forged", "reason"),
    [
        ("b'[NaN]'", "ResultNotJson"),
        ("b'1e999'", "ResultNotJson"),
        ("b'[' * 200 + b']' * 200", "ResultNotJson"),
        ("b'[' * 100_000 + b']' * 100_000", "TaskFailed"),
        ("b'\"' + b'x' * 1_060_000 + b'\"'", "ResultTooLarge"),
    ],
    ids=["NaN", "infinity", "deep", "very deep", "large"],
)
def test_a_forged_result_is_held_to_what_every_result_is(forged, reason):
    source = (
        "import os, stat, struct\n"
        "def main():\n"
        "    for name in os.listdir('/proc/self/fd'):\n"
        "        fd = int(name)\n"
        "        try:\n"
        "            if fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode):\n"
        f"                letter = b'C' + {forged}\n"
        "                with open(os.dup(fd), 'wb') as socket:\n"
        "                    socket.write(struct.pack('!Q', len(letter)) + letter)\n"
        "        except OSError:\n"
        "            pass\n"
        "    return 'real'"
    )
    assert failure_of(run(python(source))).reason == reason


@pytest.mark.parametrize("forged", ["b'\\0' * 7 + b'\\5Cnope]'", "b'\\xff' * 64", "b'\\0' * 7 + b'\\2F{'"])
def test_what_a_body_forges_on_its_socket_is_no_answer(forged):
    source = (
        "import os, stat\n"
        "def main():\n"
        "    for name in os.listdir('/proc/self/fd'):\n"
        "        fd = int(name)\n"
        "        try:\n"
        "            if fd > 2 and stat.S_ISSOCK(os.fstat(fd).st_mode):\n"
        f"                os.write(fd, {forged})\n"
        "        except OSError:\n"
        "            pass\n"
        "    return 'real'"
    )
    failure = failure_of(run(python(source)))
    assert failure.error_type == "ProcessDied"


def test_a_process_sees_no_descriptor_of_the_engine_but_its_own_socket(tmp_path):
    with (tmp_path / "secret").open("w"):
        source = (
            "import os\n"
            "def main():\n"
            "    names = [f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd') if int(n) > 2]\n"
            "    return [os.readlink(name).split(':')[0] for name in names if os.path.exists(name)]"
        )
        waiting = [InThread(python("import time\ndef main():\n    time.sleep(600)")) for _ in range(2)]
        assert result_of(run(python(source))) == ["socket"]
        for each in waiting:
            each.attempt.cancellation.request()
            each.outcome()


@pytest.mark.parametrize("whole", [False, True])
def test_the_policy_says_whether_a_process_has_the_whole_environment(monkeypatch, whole):
    monkeypatch.setenv("DATABASE_URL", "secret")
    policy = replace(Policy.permissive(), whole_environment=whole)
    attempt = python("import os\ndef main():\n    return dict(os.environ)")
    seen = result_of(run_attempt(registry(policy))(attempt))
    assert (seen.get("DATABASE_URL") == "secret") is whole
    assert ("PYTEST_CURRENT_TEST" in seen) is whole
    assert seen[MARK] == "1"


@pytest.mark.parametrize("policy", [Policy(), Policy.permissive()])
def test_the_operator_and_the_command_keep_their_environment_to_themselves(policy):
    assert not policy.whole_environment


def test_the_policy_says_how_large_a_result_may_be():
    def run_with(limit):
        policy = replace(Policy.permissive(), max_result_bytes=limit)
        return run_attempt(registry(policy))(python("def main():\n    return 'x' * 2_000_000"))

    assert len(result_of(run_with(2_000_002))) == 2_000_000
    for limit in (2_000_001, None):
        assert failure_of(run_with(limit)).reason == "ResultTooLarge"


def test_a_process_has_a_clean_environment(monkeypatch):
    monkeypatch.setenv("FLOWWEAVER_STATE", "/secret")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    LAUNCHER.close()  # the next one is started with what is set now
    seen = result_of(run(python("import os\ndef main():\n    return dict(os.environ)")))
    assert seen["PATH"]
    assert {name for name in seen if name.startswith(("FLOWWEAVER_", "KUBERNETES_", "AWS_"))} == {
        "FLOWWEAVER_TASK_PROCESS"
    }
    started_with = result_of(
        run(python("def main():\n    return open('/proc/self/environ', 'rb').read().decode().split('\\0')"))
    )
    assert not any("KUBERNETES" in entry or "s3cr3t" in entry or "/secret" in entry for entry in started_with)


def test_a_process_imports_from_where_this_one_does(tmp_path, monkeypatch):
    assert result_of(run(python("def main():\n    return 1"))) == 1  # what makes processes runs before the change
    (tmp_path / "only_here.py").write_text("def main():\n    import os\n    return os.getcwd()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    body = {"function": "only_here:main", "isolation": "Process"}
    assert result_of(run(attempt_of("python", body))) == str(tmp_path)


def test_what_a_body_prints_goes_to_standard_error(capfd):
    LAUNCHER.close()
    result_of(run(python("import sys\ndef main():\n    print('a word')\n    print('another', file=sys.stderr)")))
    captured = capfd.readouterr()
    LAUNCHER.close()
    assert captured.out == ""
    assert "a word" in captured.err
    assert "another" in captured.err


def test_many_processes_at_once_each_give_their_own_result():
    running = [InThread(python("def main(x):\n    return x * x", {"x": x})) for x in range(24)]
    assert [result_of(each.outcome()) for each in running] == [x * x for x in range(24)]


def test_a_launcher_that_is_killed_loses_its_attempts_and_is_replaced(sleeping):
    running, child, grandchild = sleeping()
    os.kill(LAUNCHER._process.pid, signal.SIGKILL)
    failure = failure_of(running.outcome())
    assert failure.error_type == "ProcessDied"
    assert "lost" in failure.message
    assert not is_alive(child)
    assert not is_alive(grandchild)
    assert result_of(run(python("def main():\n    return 1"))) == 1


def test_a_fork_that_keeps_the_socket_of_a_lost_attempt_holds_nobody_up(tmp_path):
    source = (
        "import os, time\n"
        "def main(file):\n"
        "    pid = os.fork()\n"
        "    if pid:\n"
        "        with open(file, 'w') as out:\n"
        "            out.write(f'{pid}\\n')\n"
        "    time.sleep(600)"
    )
    running = InThread(python(source, {"file": str(tmp_path / "fork")}))
    fork = eventually(lambda: number_in(tmp_path / "fork"))
    os.kill(LAUNCHER._process.pid, signal.SIGKILL)
    assert "lost" in failure_of(running.outcome()).message
    assert not is_alive(fork)


def test_a_process_starts_without_anything_heavy_and_without_anything_of_the_engine():
    source = (
        "import sys\n"
        "def main():\n"
        "    names = [name.split('.') for name in sys.modules]\n"
        "    rooms = {parts[1] for parts in names if len(parts) > 1 and parts[0] == 'flowweaver'}\n"
        "    return sorted({parts[0] for parts in names} | rooms)"
    )
    heavy = {
        "cel_expr_python",
        "pydantic",
        "httpx",
        "apsw",
        "yaml",
        "kubernetes",
        "kopf",
        "engine",
        "stores",
        "manifest",
    }
    assert heavy & set(result_of(run(python(source)))) == set()


def test_a_body_goes_before_the_engine_where_memory_runs_out():
    source = "def main():\n    return int(open('/proc/self/oom_score_adj').read())"
    assert result_of(run(python(source))) > 0


def test_no_process_and_no_zombie_is_left_behind(sleeping):
    running, child, grandchild = sleeping()
    for _ in range(5):
        run(python("import os\ndef main():\n    os._exit(1)"))
    running.attempt.cancellation.request()
    running.outcome()
    launcher = LAUNCHER._process.pid
    LAUNCHER.close()
    assert not is_alive(launcher)
    assert launcher not in own_children()
    assert not is_alive(child)
    assert not is_alive(grandchild)


PARENT = """\
import sys, threading
sys.path[:0] = {path!r}
from tests.runners.attempts import attempt_of, run
threading.Thread(target=run, args=(attempt_of("python", {python!r}),)).start()
run(attempt_of("shell", {shell!r}))
"""


def test_when_the_parent_is_killed_its_children_and_grandchildren_die(tmp_path):
    paths = {name: tmp_path / name for name in ("child", "grandchild", "program", "daemon", "sub")}
    args = {"file": str(paths["child"]), "grandchild": str(paths["grandchild"])}
    script = (
        f"(trap '' TERM HUP; sh -c 'echo $$ > {paths['sub']}; sleep 600') & "
        f"setsid sh -c 'echo $$ > {paths['daemon']}; sleep 600' & echo $$ > {paths['program']}; sleep 600"
    )
    boot = PARENT.format(
        path=sys.path,
        python={"source": SLEEPER, "args": args, "isolation": "Process"},
        shell={"script": script},
    )
    parent = subprocess.Popen([sys.executable, "-c", boot])
    pids = {name: eventually(lambda path=path: number_in(path)) for name, path in paths.items()}
    assert all(is_alive(pid) for pid in pids.values())
    parent.kill()
    parent.wait(PATIENCE_SECONDS)
    eventually(lambda: not [name for name, pid in pids.items() if is_alive(pid)])


def test_a_fork_of_this_process_does_not_keep_the_launcher_alive():
    result_of(run(python("def main():\n    return 1")))
    launcher, gate = LAUNCHER._process.pid, os.pipe()
    fork = os.fork()
    if not fork:
        os.close(gate[1])
        os.read(gate[0], 1)
        os._exit(0)
    os.close(gate[0])
    LAUNCHER.close()
    assert not is_alive(launcher)
    os.close(gate[1])
    os.waitpid(fork, 0)
