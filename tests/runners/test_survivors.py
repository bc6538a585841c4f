"""Ending what an earlier life left behind, and nobody else's processes."""

import os
import subprocess
import sys
import time

import pytest

from flowweaver.core.events import AttemptId
from flowweaver.ports import ChildProcess
from flowweaver.runners import kill_survivors
from flowweaver.runners.environment import MARK
from flowweaver.runners.proc import read_stat
from tests.runners.attempts import PATIENCE_SECONDS, eventually, is_alive, number_in

TASK = {**os.environ, MARK: "1"}
STRANGER = {name: text for name, text in os.environ.items() if name != MARK}


class Session:
    """A process that leads a session, and another one in a group of its own in that session."""

    def __init__(self, folder, environment):
        code = (
            "import subprocess, sys, time, os\n"
            "sub = subprocess.Popen(['sleep', '600'], process_group=0)\n"
            f"open({str(folder / 'sub')!r}, 'w').write(f'{{sub.pid}}\\n')\n"
            "time.sleep(600)\n"
        )
        self.leader = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, env=environment)
        self.member = eventually(lambda: number_in(folder / "sub"))
        self.started = read_stat(self.leader.pid).started

    def recorded(self, started=None):
        return [ChildProcess(AttemptId(1, 0, 1), self.leader.pid, self.started if started is None else started)]

    def leader_alone_is_killed(self):
        self.leader.kill()
        self.leader.wait(PATIENCE_SECONDS)

    def alive(self):
        return [is_alive(self.leader.pid), is_alive(self.member)]


@pytest.fixture
def session(tmp_path):
    made = []

    def session(environment=TASK):
        made.append(Session(tmp_path, environment))
        return made[-1]

    yield session
    for each in made:
        each.leader.kill()
        each.leader.wait(PATIENCE_SECONDS)
        if is_alive(each.member):
            os.kill(each.member, 9)


def test_nothing_recorded_nothing_killed():
    assert kill_survivors([]) == 0


def test_a_whole_session_is_ended_while_its_leader_lives(session):
    survivor = session()
    assert kill_survivors(survivor.recorded()) == 2
    assert survivor.alive() == [False, False]


def test_what_is_left_of_a_session_is_ended_when_its_leader_is_gone(session):
    survivor = session()
    survivor.leader_alone_is_killed()
    assert survivor.alive() == [False, True]
    assert kill_survivors(survivor.recorded()) == 1
    assert survivor.alive() == [False, False]


def test_a_leader_of_the_same_number_that_started_at_another_time_is_a_stranger(session):
    stranger = session()
    for started in (stranger.started - 1, stranger.started + 1, 0):
        assert kill_survivors(stranger.recorded(started)) == 0
    assert stranger.alive() == [True, True]


def test_a_session_without_leader_whose_members_are_no_tasks_is_a_strangers(session):
    stranger = session(STRANGER)
    stranger.leader_alone_is_killed()
    assert kill_survivors(stranger.recorded()) == 0
    assert stranger.alive() == [False, True]


def test_a_member_that_started_before_the_recorded_process_is_a_strangers(session):
    stranger = session()
    stranger.leader_alone_is_killed()
    assert kill_survivors(stranger.recorded(read_stat(stranger.member).started + 1)) == 0
    assert stranger.alive() == [False, True]


def test_a_number_that_nobody_has_is_no_error():
    gone = subprocess.Popen(["true"])
    gone.wait(PATIENCE_SECONDS)
    assert kill_survivors([ChildProcess(AttemptId(1, 0, 1), gone.pid, int(time.monotonic() * 100))]) == 0
