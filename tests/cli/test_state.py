"""`flowweaver run --state`: a second call goes on, and never repeats what has completed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

DEADLINE_SECONDS = 60

APPENDING = """
- name: one
  shell: {script: echo one >>journal}
- name: two
  dependsOn: [one]
  shell: {script: echo two >>journal}
"""
WANTING = """
- name: good
  shell: {script: echo good >>journal}
- name: bad
  dependsOn: [good]
  shell: {script: 'echo bad >>journal; test -e wanted'}
- name: last
  dependsOn: [bad]
  shell: {script: echo last >>journal}
"""
HOLDING = """
- name: first
  shell: {script: echo first >>journal}
- name: held
  dependsOn: [first]
  shell: {script: 'echo held >>journal; until test -e go; do sleep 0.05; done'}
- name: last
  dependsOn: [held]
  shell: {script: echo last >>journal}
"""


def journal(folder: Path) -> list[str]:
    file = folder / "journal"
    return file.read_text().split() if file.exists() else []


def await_line(folder: Path, line: str, times: int = 1) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while journal(folder).count(line) < times:
        assert time.monotonic() < deadline, f"{line} has not been written {times} times: {journal(folder)}"
        time.sleep(0.02)


def test_a_second_call_on_a_completed_run_runs_nothing_and_says_so(flowweaver, manifest, folder):
    file = manifest(APPENDING)
    first = flowweaver("run", file, "--state", "state.db")

    second = flowweaver("run", file, "--state", "state.db")

    assert (first.returncode, second.returncode) == (0, 0)
    assert journal(folder) == ["one", "two"]
    assert "probe has already completed in state.db: nothing runs again" in second.stdout
    assert "Completed in " not in second.stdout
    assert [line.split()[:2] for line in second.stdout.splitlines()[-2:]] == [
        ["one", "Completed"],
        ["two", "Completed"],
    ]


def test_a_second_call_on_a_completed_run_gives_the_same_object(flowweaver, manifest):
    file = manifest("- name: a\n  value: 1\n", more="  outputs: [{name: a, value: '${tasks.a.result}'}]\n")

    first, second = (json.loads(flowweaver("run", file, "--state", "s.db", "-o", "json").stdout) for _ in range(2))

    for shown in (first, second):
        for name in ("conditions", "store"):  # when it was looked at, and by which life of the store
            del shown["status"][name]
    assert first == second


def test_a_second_call_on_a_failed_run_repeats_only_what_did_not_complete(flowweaver, manifest, folder):
    file = manifest(WANTING)
    assert flowweaver("run", file, "--state", "state.db").returncode == 1
    (folder / "wanted").touch()

    second = flowweaver("run", file, "--state", "state.db")

    assert second.returncode == 0, second.stdout
    assert journal(folder) == ["good", "bad", "bad", "last"]
    assert "was failed in state.db: running again what did not complete (1 of 3 tasks are kept)" in second.stdout


def test_a_run_that_fails_again_exits_1_again(flowweaver, manifest, folder):
    file = manifest(WANTING)

    statuses = [flowweaver("run", file, "--state", "state.db").returncode for _ in range(3)]

    assert statuses == [1, 1, 1]
    assert journal(folder) == ["good", "bad", "bad", "bad"]


def test_after_kill_9_the_same_command_goes_on_and_repeats_only_what_was_running(flowweaver, start, manifest, folder):
    file = manifest(HOLDING)
    process = start("run", file, "--state", "state.db")
    await_line(folder, "held")
    process.kill()
    process.wait()
    (folder / "go").touch()

    second = flowweaver("run", file, "--state", "state.db")

    assert second.returncode == 0, second.stdout + second.stderr
    assert journal(folder) == ["first", "held", "held", "last"]
    assert "goes on from state.db: 1 of 3 tasks are kept" in second.stdout


def test_ctrl_c_once_lets_running_attempts_end_and_leaves_the_rest_for_the_next_call(
    flowweaver, start, manifest, folder
):
    file = manifest(HOLDING)
    process = start("run", file, "--state", "state.db")
    await_line(folder, "held")
    process.send_signal(signal.SIGINT)
    await_text(process, "Stopping")
    (folder / "go").touch()
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130, output + errors
    assert "the same command goes on with it" in output
    assert journal(folder) == ["first", "held"]
    assert flowweaver("run", file, "--state", "state.db").returncode == 0
    assert journal(folder) == ["first", "held", "last"]


def test_ctrl_c_twice_waits_for_nothing_and_loses_nothing(flowweaver, start, manifest, folder):
    file = manifest(HOLDING)
    process = start("run", file, "--state", "state.db")
    await_line(folder, "held")
    process.send_signal(signal.SIGINT)
    await_text(process, "Stopping")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130, output + errors
    (folder / "go").touch()
    assert flowweaver("run", file, "--state", "state.db").returncode == 0
    assert journal(folder) == ["first", "held", "held", "last"]


def test_sigterm_is_an_interrupt_with_its_own_exit_status(start, manifest, folder):
    process = start("run", manifest(HOLDING), "--state", "state.db")
    await_line(folder, "held")
    process.terminate()
    await_text(process, "Stopping")
    process.terminate()
    process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 143


def test_a_task_that_takes_long_is_told_while_it_runs(start, manifest, folder):
    process = start("run", manifest(HOLDING))
    await_text(process, "  held   Running")
    (folder / "go").touch()
    await_text(process, "  held   Completed  in ")


def test_an_interrupt_without_a_state_file_says_that_nothing_was_kept(start, manifest):
    process = start("run", manifest("- name: rest\n  wait: {duration: 1h}\n"))
    await_text(process, "Waiting")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130
    assert "with --state DB it could go on" in output


def test_other_parameters_on_the_same_file_are_refused_and_named(flowweaver, manifest):
    file = manifest("- name: a\n  value: ${params.who}\n", more="  params: [{name: who, value: 1}]\n")
    flowweaver("run", file, "--state", "state.db")

    second = flowweaver("run", file, "--state", "state.db", "-p", "who=2")

    assert second.returncode == 2
    assert "started with other params" in second.stderr


def test_other_workflows_have_their_own_runs_in_one_file(flowweaver, manifest, folder):
    first = flowweaver("run", manifest(APPENDING, name="probe"), "--state", "state.db")
    second = flowweaver("run", manifest(APPENDING, name="other"), "--state", "state.db")

    assert (first.returncode, second.returncode) == (0, 0)
    assert journal(folder) == ["one", "two"] * 2


def test_another_unfinished_run_of_the_file_goes_on_beside_and_is_named(flowweaver, start, manifest, folder):
    process = start("run", manifest(HOLDING, name="probe"), "--state", "state.db")
    await_line(folder, "held")
    process.kill()
    process.wait()

    second = flowweaver("run", manifest("- name: a\n  wait: {duration: 100ms}\n", name="other"), "--state", "state.db")

    assert second.returncode == 0
    assert "probe is unfinished in state.db too" in second.stdout
    assert "held" not in second.stdout


def test_two_calls_at_once_on_one_file_are_refused(flowweaver, start, manifest, folder):
    file = manifest(HOLDING)
    start("run", file, "--state", "state.db")
    await_line(folder, "held")

    second = flowweaver("run", file, "--state", "state.db")

    assert second.returncode == 2
    assert "state.db" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_state_file_in_no_folder_is_refused_with_the_folder(flowweaver, manifest):
    result = flowweaver("run", manifest(APPENDING), "--state", "nowhere/state.db")

    assert result.returncode == 2
    assert "nowhere" in result.stderr


def test_a_state_file_that_is_something_else_is_refused_and_left_as_it_is(flowweaver, manifest, folder):
    (folder / "notes.txt").write_text("not a database at all\n" * 100)

    result = flowweaver("run", manifest(APPENDING), "--state", "notes.txt")

    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert (folder / "notes.txt").read_text().startswith("not a database")
    assert journal(folder) == []


def await_text(process, text: str) -> None:
    """Read the command's output until a line has this text."""
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the command ended without saying {text!r}: {process.stderr.read()}")


def test_a_call_that_goes_on_with_an_interrupted_repetition_ends_with_it(flowweaver, start, manifest, folder):
    file = manifest(
        """
- name: picky
  shell: {script: 'echo picky >>journal; test -e wanted || exit 1; until test -e go; do sleep 0.05; done'}
"""
    )
    assert flowweaver("run", file, "--state", "state.db").returncode == 1
    (folder / "wanted").touch()
    second = start("run", file, "--state", "state.db")
    await_line(folder, "picky", times=2)
    second.send_signal(signal.SIGKILL)
    second.communicate()
    (folder / "go").touch()

    third = flowweaver("run", file, "--state", "state.db")

    assert (third.returncode, journal(folder)) == (0, ["picky"] * 3)


def test_what_is_shown_after_an_interrupt_is_how_it_stands_when_nothing_runs(start, manifest, folder):
    process = start("run", manifest(HOLDING), "--state", "state.db", "-o", "json")
    await_line(folder, "held")
    interrupt_twice(process)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 130
    phases = {task["name"]: task["phase"] for task in json.loads(output)["status"]["tasks"]}
    assert phases == {"first": "Completed", "held": "Pending", "last": "Pending"}


def test_a_task_that_must_not_be_repeated_fails_at_an_interrupt(start, manifest, folder):
    once = "- name: once\n  onCrash: Fail\n  shell: {script: 'echo held >>journal; sleep 3600'}\n"
    process = start("run", manifest(once), "--state", "state.db", "-o", "json")
    await_line(folder, "held")
    interrupt_twice(process)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)

    assert process.returncode == 1
    (task,) = json.loads(output)["status"]["tasks"]
    assert (task["phase"], task["reason"]) == ("Failed", "Interrupted")


def interrupt_twice(process) -> None:
    process.send_signal(signal.SIGINT)
    assert any("Stopping" in line for line in iter(process.stderr.readline, ""))  # stdout is for the result alone
    process.send_signal(signal.SIGINT)
