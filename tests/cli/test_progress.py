"""How a run is followed on a terminal: a table that stays at the bottom, and everything else above it."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from flowweaver.cli.progress_board import Board
from flowweaver.cli.progress_capture import captured, legible
from flowweaver.cli.progress_live import MOST_ROWS, picture
from flowweaver.core.phases import TaskPhase
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.core.state import TaskState

HELD = """
- name: first
  value: 1
- name: held
  dependsOn: [first]
  shell: {script: 'until test -e go; do sleep 0.05; done'}
- name: last
  dependsOn: [held]
  value: 2
"""
NOISY = """
- name: noisy
  python:
    isolation: Thread
    source: |
      import os, pathlib, subprocess, sys, time
      def main():
          print("by print")
          os.write(2, "at the descriptor \\x1b[31mred\\x1b[2J".encode() + bytes([10]))
          subprocess.run(["echo", "by a child"], check=True)
          while not pathlib.Path("go").exists():
              time.sleep(0.05)
          sys.stdout.write("without an end")
"""
SUMMARY = re.compile(r"^probe  \d+ of \d+  ━+  ")


def summaries(terminal):
    return [line for line in terminal.screen.lines if SUMMARY.match(line)]


def is_whole(terminal):
    """Whether the table is there, and not in the middle of being drawn: its summary is drawn last, erased first."""
    return SUMMARY.match(terminal.screen.lines[-1])


def await_table(terminal, *texts):
    """Read until there is a whole table, and all of that above it or in it."""

    def holds():
        return is_whole(terminal) and all(text in "\n".join(terminal.screen.shown) for text in texts)

    terminal.await_(f"a table with {texts}", holds)


def test_on_a_terminal_a_table_shows_what_runs_with_attempt_and_duration(terminal, manifest, folder):
    seen = terminal("run", manifest(HELD))
    await_table(seen, "held   Running")

    header, held, *_ = seen.screen.shown
    assert header.split() == ["TASK", "PHASE", "ATTEMPT", "DURATION", "REASON"]
    assert re.fullmatch(r"held   Running +1 +\d+\.\d\d s", held)
    assert any(line.split()[:2] == ["first", "Completed"] for line in seen.screen.shown)
    assert any(line.split() == ["last", "Pending"] for line in seen.screen.shown)
    assert "probe  1 of 3" in summaries(seen)[0]
    (folder / "go").touch()
    assert seen.end() == 0


def test_when_the_run_has_ended_the_table_is_gone_and_the_result_stands_there(terminal, manifest, folder):
    seen = terminal("run", manifest(HELD))
    seen.await_text("held   Running")
    (folder / "go").touch()

    assert seen.end() == 0

    assert summaries(seen) == []
    lines = seen.screen.text.splitlines()
    assert lines[0].startswith("Completed in ")
    assert [line.split()[:2] for line in lines[-3:]] == [
        ["first", "Completed"],
        ["held", "Completed"],
        ["last", "Completed"],
    ]


def test_the_duration_of_what_runs_grows_while_nothing_happens(terminal, manifest, folder):
    seen = terminal("run", manifest(HELD))
    await_table(seen, "held   Running")
    before = seen.screen.shown[1]

    seen.await_("the line changes", lambda: is_whole(seen) and seen.screen.shown[1] != before)


def test_what_bodies_print_stands_above_the_table_line_by_line(terminal, manifest, folder):
    seen = terminal("run", manifest(NOISY))
    await_table(seen, "by print", "at the descriptor red", "by a child")
    assert len(summaries(seen)) == 1
    assert summaries(seen)[0] == seen.screen.lines[-1]
    (folder / "go").touch()

    assert seen.end() == 0

    lines = seen.screen.text.splitlines()
    assert {"by print", "at the descriptor red", "by a child", "without an end"} <= set(lines)
    assert summaries(seen) == []


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(50, 24), pytest.param(140, 24, marks=pytest.mark.slow), pytest.param(100, 8, marks=pytest.mark.slow)],
)
def test_after_the_window_was_resized_one_table_of_the_new_size_is_there(terminal, manifest, folder, columns, rows):
    seen = terminal("run", manifest(NOISY.replace("by print", "by print " * 9)), columns=100, rows=24)
    await_table(seen, "by a child", "noisy  Running")
    before = seen.screen.lines[-2]
    seen.resize(columns, rows)

    seen.await_("it is drawn again", lambda: before not in seen.screen.lines and is_whole(seen))

    assert len(summaries(seen)) == 1
    assert sum(line.startswith("TASK ") for line in seen.screen.lines) == 1
    assert "by a child" in seen.screen.lines
    (folder / "go").touch()
    assert seen.end() == 0
    assert "by a child" in seen.screen.lines


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_leaves_the_terminal_as_it_was_and_no_table_on_it(terminal, manifest, number, folder):
    seen = terminal("run", manifest(HELD), "--state", "state.db")
    seen.await_text("held   Running")
    if number == signal.SIGINT:
        seen.type("\x03")
    else:
        seen.process.send_signal(number)
    seen.await_text("Stopping: nothing new is started; 1 running")
    (folder / "go").touch()

    assert seen.end() == 128 + number
    assert summaries(seen) == []
    assert "Stopped before its end: the same command goes on with it" in seen.screen.text


def test_ctrl_c_twice_leaves_the_terminal_as_it_was_too(terminal, manifest):
    seen = terminal("run", manifest(HELD))
    seen.await_text("held   Running")
    seen.type("\x03")
    seen.await_text("Stopping: nothing new is started")
    seen.type("\x03")

    assert seen.end() == 130
    assert summaries(seen) == []


def test_killed_it_leaves_nothing_switched(terminal, manifest):
    seen = terminal("run", manifest(HELD))
    seen.await_text("held   Running")
    seen.process.kill()

    assert seen.end() == -signal.SIGKILL  # the screen knows no sequence that would have to be taken back


def test_a_second_call_shows_what_an_earlier_one_has_completed(terminal, flowweaver, manifest, folder):
    script = "test -e again || exit 1; until test -e go; do sleep 0.05; done"
    file = manifest(f"- name: good\n  value: 1\n- name: bad\n  shell: {{script: '{script}'}}\n")
    assert flowweaver("run", file, "--state", "state.db").returncode == 1
    (folder / "again").touch()

    seen = terminal("run", file, "--state", "state.db")
    await_table(seen, "bad   Running")

    assert any(line.split()[:3] == ["good", "Completed", "1"] for line in seen.screen.shown)
    assert summaries(seen)[0].startswith("probe  1 of 2")
    (folder / "go").touch()
    assert seen.end() == 0
    assert "1 of 2 tasks are kept" in seen.screen.text


def test_what_a_shell_wrote_while_it_was_stopped_stays(terminal, manifest, folder):
    seen = terminal("run", manifest(HELD))
    await_table(seen, "held   Running")
    seen.process.send_signal(signal.SIGSTOP)
    os.write(seen.slave, b"\r\n[1]+  Stopped\r\n$ fg\r\n")
    seen.await_text("$ fg")
    seen.process.send_signal(signal.SIGCONT)

    seen.await_("it is drawn again, below", lambda: len(summaries(seen)) == 2)
    assert "$ fg" in seen.screen.shown
    (folder / "go").touch()
    assert seen.end() == 0
    assert "[1]+  Stopped" in seen.screen.lines


def test_with_no_color_nothing_is_coloured(terminal, manifest):
    coloured, plain = terminal("run", manifest(HELD)), terminal("run", manifest(HELD), NO_COLOR="1")
    for seen in (coloured, plain):
        seen.await_text("held   Running")

    assert any("36" in colour.split(";") for colour in coloured.screen.colours)
    assert not any(part.startswith("3") for colour in plain.screen.colours for part in colour.split(";"))


@pytest.mark.parametrize(
    ("arguments", "environment"), [(["--progress", "plain"], {}), ([], {"TERM": "dumb"})], ids=["asked for", "dumb"]
)
def test_lines_are_printed_on_a_terminal_too(terminal, manifest, folder, arguments, environment):
    (folder / "go").touch()
    seen = terminal("run", manifest(HELD), *arguments, **environment)

    assert seen.end() == 0
    assert re.search(r"^\d\d:\d\d:\d\d  first  Completed  in ", seen.screen.text, re.MULTILINE)


def test_in_the_background_of_a_shell_it_prints_lines(shell, manifest, folder):
    (folder / "go").touch()
    seen = shell(f"{sys.executable} -m flowweaver run {manifest(HELD)} & wait $!")

    assert seen.end() == 0
    assert re.search(r"^\d\d:\d\d:\d\d  first  Completed  in ", seen.screen.text, re.MULTILINE)


def test_quiet_prints_the_result_alone(flowweaver, manifest, folder):
    (folder / "go").touch()
    result = flowweaver("run", manifest(HELD), "--progress", "quiet")

    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.split("\n")[1:-1]] == ["TASK", "first", "held", "last"]


def test_live_without_a_terminal_is_refused_with_the_way_out(flowweaver, manifest):
    result = flowweaver("run", manifest(HELD), "--progress", "live")

    assert result.returncode == 2
    assert "--progress live draws on a terminal, and there is none here: use --progress auto or plain" in result.stderr


def test_a_result_for_a_program_is_alone_while_the_table_is_on_the_terminal(terminal, manifest, folder):
    with (folder / "result.json").open("wb") as file:
        seen = terminal("run", manifest(HELD), "-o", "json", streams={"stdout": file.fileno()})
        seen.await_text("held   Running")
        (folder / "go").touch()
        assert seen.end() == 0

    assert (folder / "result.json").read_text().startswith("{\n")
    assert '"phase": "Completed"' in (folder / "result.json").read_text()


# ------------------------------------------------------------------------------------------------- what is in the table


def plan_of(number: int) -> RunPlan:
    tasks = [TaskPlan(name=f"task-{place}", kind="value") for place in range(number)]
    return RunPlan(name="many", tasks=(*tasks, TaskPlan(name="(outputs)", kind="outputs", internal=True)))


def drawn(board: Board, columns: int = 100, rows: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=rows)
    console.print(picture(board, "many", 60.0, 5.0, columns, rows))
    return console.file.getvalue().splitlines()


def test_what_runs_stands_first_then_what_waits_and_what_failed():
    board = Board(plan_of(6))
    board.update("task-0", TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1.0, finished_at=2.0))
    board.update("task-1", TaskState(phase=TaskPhase.FAILED, attempts=3, reason="TaskFailed", message="no"))
    board.update("task-3", TaskState(phase=TaskPhase.WAITING, attempts=1, reason="Backoff", message="later"))
    board.update("task-4", TaskState(phase=TaskPhase.RUNNING, attempts=2, started_at=50.0))

    rows = [line.split()[:2] for line in drawn(board)[1:-1]]

    assert rows == [
        ["task-4", "Running"],
        ["task-3", "Waiting"],
        ["task-1", "Failed"],
        ["task-0", "Completed"],
        ["task-2", "Pending"],
        ["task-5", "Pending"],
    ]
    assert "task-4  Running          2   10.00 s" in drawn(board)[1]
    assert "TaskFailed: no" in drawn(board)[3]
    assert drawn(board)[-1].endswith("5.00 s  1 failed, 1 running, 1 waiting, 2 pending, 1 completed")


@pytest.mark.parametrize("rows", [8, 24, 200])
def test_of_thousands_of_tasks_as_many_are_shown_as_fit(rows):
    board = Board(plan_of(5000))
    for place in range(100):
        board.update(f"task-{place}", TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=1.0))

    lines = drawn(board, rows=rows)

    assert len(lines) < rows
    shown = len(lines) - 3
    assert shown == min(rows - 4, MOST_ROWS)
    assert lines[-2] == f"… and {5000 - shown:,} more"
    assert "0 of 5,000" in lines[-1]


def test_no_line_is_wider_than_the_terminal_whatever_the_tasks_say():
    board = Board(RunPlan(name="n" * 63, tasks=tuple(TaskPlan(name=letter * 63, kind="value") for letter in "abc")))
    board.update("a" * 63, TaskState(phase=TaskPhase.FAILED, attempts=1, reason="TaskFailed", message="漢字" * 300))

    for columns in (20, 40, 80, 200):
        assert max(map(len, drawn(board, columns=columns))) <= columns


def test_a_long_reason_takes_no_room_from_what_stands_before_it():
    board = Board(plan_of(1))
    board.update("task-0", TaskState(phase=TaskPhase.FAILED, attempts=1, reason="TaskFailed", message="no " * 300))

    for columns in (60, 80, 200):
        header, row, _ = drawn(board, columns=columns)
        assert header.split() == ["TASK", "PHASE", "ATTEMPT", "DURATION", "REASON"]
        assert row.split()[:3] == ["task-0", "Failed", "1"]


def test_a_task_that_a_rerun_takes_up_again_is_shown_once():
    board = Board(plan_of(1))
    for phase in (TaskPhase.FAILED, TaskPhase.PENDING, TaskPhase.RUNNING, TaskPhase.FAILED):
        board.update("task-0", TaskState(phase=phase))

    assert [name for name, _ in board.rows(10)] == ["task-0"]
    assert board.finished == 1


def test_what_a_body_prints_can_not_steer_the_terminal():
    assert legible(b"a\x1b[2Jb\x1b]0;title\x07c\x1b(Bd\x07e\r") == "abcd\N{REPLACEMENT CHARACTER}e"
    assert legible(b"10 %\r20 %") == "20 %"
    assert legible(b"\xff caf\xc3\xa9") == "\N{REPLACEMENT CHARACTER} café"


def test_a_child_that_lives_on_does_not_hold_the_end_up():
    master, slave = os.openpty()
    told: list[str] = []
    with captured(told.append, (slave,)):
        os.write(slave, b"one\ntwo")
        child = subprocess.Popen(["sleep", "60"], pass_fds=(slave,))

    assert told == ["one", "two"]
    assert child.poll() is None
    child.kill()
    child.wait()
    os.close(slave)
    os.close(master)
