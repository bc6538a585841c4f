"""`shell` bodies: what is run, what it sees, what its result is, and that nothing of it stays."""

import os
import signal
import sys
import threading

import pytest

from flowweaver.policy import Policy, UnsafeBody
from flowweaver.runners import registry, run_attempt
from flowweaver.runners.streams import Output
from tests.runners.attempts import (
    PATIENCE_SECONDS,
    attempt_of,
    completed,
    eventually,
    failure_of,
    is_alive,
    number_in,
    result_of,
    run,
)


def shell(body, **attempt):
    return run(attempt_of("shell", body, **attempt))


def script(text, **body):
    return shell({"script": text, **body})


def test_the_result_is_exit_code_and_output():
    assert result_of(script("echo out; echo err >&2")) == {"exitCode": 0, "stdout": "out\n", "stderr": "err\n"}


def test_an_expression_in_a_command_is_one_argument_and_never_parsed_again():
    value = "a b; touch /nowhere $(id) `id` 'q' \"d\" * \\ \n$HOME"
    outcome = shell({"command": ["printf", "%s|", "${params.x}", "n=${1 + 1}"]}, params={"x": value})
    assert result_of(outcome)["stdout"] == f"{value}|n=2|"


def test_a_script_is_literal_and_values_come_by_the_environment():
    body = {"script": 'printf "%s" "$X" "${X}"', "env": [{"name": "X", "value": "${tasks.a.result}"}]}
    value = "$(id) ${HOME}"
    assert result_of(shell(body, dependencies={"a": completed(value)}))["stdout"] == value * 2


@pytest.mark.parametrize(
    ("value", "text"), [("${1}", "1"), ("${true}", "true"), ("${1.5}", "1.5"), ("", ""), ("${''}", "")]
)
def test_scalars_become_text(value, text):
    assert result_of(shell({"command": ["printf", "[%s]", value]}))["stdout"] == f"[{text}]"


def test_a_script_ends_at_its_first_failing_command():
    failure = failure_of(script("false; echo never"))
    assert (failure.reason, failure.error_type) == ("TaskFailed", "ExitCode")
    assert failure.message == "the program ended with exit code 1, and wrote nothing to standard error"
    assert failure.retryable


def test_a_failure_has_the_last_lines_of_standard_error():
    failure = failure_of(script("for i in $(seq 1 1000); do echo line $i >&2; done; exit 7"))
    assert failure.message.startswith("the program ended with exit code 7: line 991\n")
    assert failure.message.endswith("line 1000")


def test_exit_codes_that_count_as_good_can_be_named():
    assert result_of(script("exit 3", successExitCodes=[0, 3]))["exitCode"] == 3
    assert failure_of(script("exit 0", successExitCodes=[3])).error_type == "ExitCode"


def test_a_program_that_a_signal_ends_has_failed():
    assert "signal 9" in failure_of(script("kill -9 $$")).message


@pytest.mark.parametrize(
    ("text", "result_from", "result"),
    [
        ("echo one; echo two", "Stdout", "one\ntwo"),
        ("true", "Stdout", ""),
        ("echo one; echo two", "LastLine", "two"),
        ("true", "LastLine", ""),
        ("echo '{\"a\": [1, null]}'", "Json", {"a": [1, None]}),
        ("echo 0", "Json", 0),
    ],
)
def test_the_result_can_be_taken_from_the_output(text, result_from, result):
    assert result_of(script(text, resultFrom=result_from)) == result


@pytest.mark.parametrize("text", ["echo no", "true", "echo NaN", "printf '['; head -c 100000 /dev/zero | tr '\\0' '['"])
def test_output_that_is_no_json_fails_the_task_when_json_is_asked_for(text):
    failure = failure_of(script(text, resultFrom="Json"))
    assert failure.reason == "ResultNotJson"
    assert not failure.retryable


def test_bytes_that_are_no_text_are_replaced():
    assert result_of(script("printf 'a\\377b'", resultFrom="Stdout")) == "a\ufffdb"


def test_output_beyond_the_limit_fails_the_task_and_the_last_line_is_still_there():
    flood = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last"
    failure = failure_of(script(flood))
    assert failure.reason == "ResultTooLarge"
    assert "3000006 bytes" in failure.message
    assert result_of(script(flood, resultFrom="LastLine")) == "last"


def test_a_flood_on_standard_error_is_cut_visibly():
    stderr = result_of(script("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo last >&2"))["stderr"]
    assert stderr.startswith("(")
    assert "bytes cut" in stderr
    assert stderr.endswith("xlast\n")
    assert len(stderr) < 70_000


def test_of_an_endless_stream_little_is_kept_in_memory():
    output = Output(limit=1000)
    for _ in range(1000):
        output.add(b"x" * 999 + b"\n")
    assert sys.getsizeof(output._kept) < 10_000
    assert output.total == 1_000_000
    assert output.text().endswith("x\n")


@pytest.mark.parametrize("command", [["nosuch-program"], ["/"], ["/etc/passwd"], ["true", "x" * 3_000_000]])
def test_a_program_that_can_not_be_run_is_named_and_not_retried(command):
    failure = failure_of(shell({"command": command}))
    assert failure.error_type == "ProgramNotStarted"
    assert f'the program "{command[0]}" can not be run' in failure.message
    assert not failure.retryable


def test_a_nul_in_an_argument_is_an_error_with_its_path():
    failure = failure_of(shell({"command": ["echo", "a\0b"]}))
    assert failure.message.startswith("shell.command[1]: ")


def test_a_program_has_a_clean_environment_and_knows_its_attempt(monkeypatch):
    monkeypatch.setenv("FLOWWEAVER_STATE", "/secret")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    monkeypatch.setenv("LC_ALL", "C")
    outcome = shell({"command": ["env", "-0"], "env": [{"name": "LC_ALL", "value": "C.UTF-8"}]}, number=3)
    seen = dict(entry.split("=", 1) for entry in result_of(outcome)["stdout"].split("\0") if entry)
    assert seen["LC_ALL"] == "C.UTF-8"
    assert {name: text for name, text in seen.items() if name.startswith(("FLOWWEAVER_", "KUBERNETES_", "AWS_"))} == {
        "FLOWWEAVER_TASK_PROCESS": "1",
        "FLOWWEAVER_TASK": "t",
        "FLOWWEAVER_ATTEMPT": "3",
        "FLOWWEAVER_IDEMPOTENCY_KEY": "u-1:t",
    }


def test_a_program_has_no_input_no_descriptor_of_ours_and_a_session_of_its_own():
    told = []
    text = "readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '; echo; cut -d' ' -f6 /proc/$$/stat; echo $$"
    outcome = shell({"script": text}, on_process=lambda process: told.append(process.pid))
    stdin, descriptors, session, pid = result_of(outcome)["stdout"].splitlines()
    assert stdin == "/dev/null"
    assert descriptors.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls reads
    assert [int(session), int(pid)] == [told[0], told[0]]
    assert os.getsid(0) != told[0]


def test_signals_are_what_programs_expect():
    assert result_of(script("yes | head -n 1", resultFrom="Stdout")) == "y"
    ignored = result_of(script("grep SigIgn /proc/self/status", resultFrom="Stdout")).split()[1]
    assert int(ignored, 16) & 0x7FFFFFFF == 0  # of 1 to 31; those above are not a shell's business


def in_thread(attempt):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run(attempt)))
    thread.start()

    def outcome():
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        return outcomes[0]

    return outcome


def test_a_cancelled_program_ends_with_its_group(tmp_path):
    text = f"sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/sub; sleep 600' & echo $$ > {tmp_path}/main; wait"
    attempt = attempt_of("shell", {"script": text})
    outcome = in_thread(attempt)
    pids = [eventually(lambda name=name: number_in(tmp_path / name)) for name in ("main", "sub")]
    attempt.cancellation.request()
    assert failure_of(outcome()).error_type == "Cancelled"
    eventually(lambda: not [pid for pid in pids if is_alive(pid)])


@pytest.mark.parametrize("how", ["", "setsid "])
def test_what_a_program_leaves_running_is_killed_and_not_waited_for(tmp_path, how):
    text = (
        f"{how}sh -c 'echo $$ > {tmp_path}/left; exec sleep 600' & while ! [ -s {tmp_path}/left ]; do :; done; echo ok"
    )
    assert result_of(script(text, resultFrom="Stdout")) == "ok"
    left = number_in(tmp_path / "left")
    eventually(lambda: not is_alive(left))


def test_shell_is_off_unless_the_policy_allows_it():
    attempt = attempt_of("shell", {"command": ["true"]})
    failure = failure_of(run_attempt(registry(Policy()))(attempt))
    assert failure.reason == "BodyNotAllowed"
    assert "--unsafe-bodies shell" in failure.message
    allowed = Policy(unsafe_bodies=frozenset({UnsafeBody.SHELL}))
    assert result_of(run_attempt(registry(allowed))(attempt))["exitCode"] == 0


def test_an_idle_program_uses_no_signal_of_ours(tmp_path):
    attempt = attempt_of(
        "shell", {"script": f"trap 'exit 5' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done"}
    )
    outcome = in_thread(attempt)
    pid = eventually(lambda: number_in(tmp_path / "pid"))
    os.kill(pid, signal.SIGTERM)
    assert "exit code 5" in failure_of(outcome()).message
