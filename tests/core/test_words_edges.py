"""Words that are stored and shown, and what a value is where nobody says anything: none of it may change unnoticed."""

from __future__ import annotations

from collections import deque

import pytest

from flowweaver.core import events as e
from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.phases import TRANSITIONS, Reason, RunPhase, Step, TaskPhase
from flowweaver.core.plan import FailurePolicy, Jitter, OnCrash, RetryPolicy, RunPlan, TaskPlan, TriggerRule
from flowweaver.core.state import CRASH_LIMIT, QUARANTINE_AT, RunHead, RunState, TaskState, World

SNAKE = {
    TaskPhase: "pending running waiting completed failed skipped cancelled",
    RunPhase: "pending running suspended completed failed cancelled",
    Step: "start complete fail retry defer interrupt wake skip cancel reset",
}
CAMEL = {
    TriggerRule: "AllCompleted AllFinished",
    FailurePolicy: "FailFast Continue",
    Jitter: "None Full",
    OnCrash: "Rerun Fail",
    e.Shutdown: "Stop Terminate",
    Reason: (
        "Backoff Timer AttemptStillRunning TaskFailed Timeout CrashLoop Interrupted ExpressionError ResultTooLarge "
        "ResultNotJson BodyNotAllowed AddressNotAllowed WorkflowTimeout DependencyNotCompleted FailFast Stopped "
        "Terminated Replaced"
    ),
}


@pytest.mark.parametrize(("words", "said"), SNAKE.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_word_in_small_letters_is_its_name(words, said):
    assert [(word.name.lower(), word.value) for word in words] == [(word, word) for word in said.split()]


@pytest.mark.parametrize(("words", "said"), CAMEL.items(), ids=lambda it: getattr(it, "__name__", ""))
def test_a_word_in_camel_case_is_its_name(words, said):
    assert [word.value for word in words] == said.split()
    assert all(word.name.replace("_", "").lower() == word.value.lower() for word in words)


def test_the_table_has_exactly_these_steps():
    steps = {
        "pending": "start>running skip>skipped cancel>cancelled",
        "running": ("complete>completed fail>failed retry>waiting defer>waiting interrupt>pending cancel>cancelled"),
        "waiting": "wake>pending complete>completed cancel>cancelled",
        "failed": "reset>pending",
        "skipped": "reset>pending",
        "cancelled": "reset>pending",
    }
    right = {(phase, *step.split(">")) for phase, found in steps.items() for step in found.split()}
    assert {(phase, step, to) for (phase, step), to in TRANSITIONS.items()} == right


def test_the_third_death_is_one_too_many_and_the_second_makes_a_suspect():
    assert (CRASH_LIMIT, QUARANTINE_AT) == (3, 2)


def test_a_task_and_a_run_begin_with_nothing_behind_them():
    assert TaskState() == TaskState(
        phase=TaskPhase.PENDING,
        attempts=0,
        failures=0,
        crashes=0,
        reason="",
        message="",
        error_type="",
        not_before=None,
        started_at=None,
        finished_at=None,
    )
    assert RunHead() == RunHead(
        phase=RunPhase.PENDING,
        reason="",
        message="",
        created_at=0.0,
        started_at=None,
        finished_at=None,
        deadline=None,
        shutdown=None,
        failed_fast=False,
        suspended=False,
        priority=0,
        parallelism=None,
        rerun_token="",
    )


def test_a_world_and_a_run_begin_empty():
    world = World(workers=3)
    assert (world.runs, world.rotation, world.running, world.abandoned) == ({}, {}, 0, set())
    assert (world.quarantined, world.draining) == (None, False)
    plan = RunPlan(tasks=())
    run = RunState(1, "w", "r", 1, plan, plan.graph(), RunHead(), [], [], deque())
    assert (run.running, run.unfinished, run.held) == (0, 0, False)


def test_a_plan_says_nothing_of_what_nobody_asked_for():
    assert RetryPolicy() == RetryPolicy(
        limit=0, delay_seconds=1.0, factor=2.0, max_delay_seconds=300.0, jitter=Jitter.NONE, when=None, timeouts=True
    )
    assert TaskPlan(name="a", kind="value") == TaskPlan(
        name="a",
        kind="value",
        body={},
        depends_on=(),
        trigger_rule=TriggerRule.ALL_COMPLETED,
        retry=RetryPolicy(),
        timeout_seconds=None,
        allow_failure=False,
        on_crash=OnCrash.RERUN,
        internal=False,
        version="",
    )
    assert RunPlan(tasks=()) == RunPlan(
        tasks=(),
        name="",
        namespace="",
        uid="",
        params={},
        failure_policy=FailurePolicy.FAIL_FAST,
        timeout_seconds=None,
        parallelism=None,
        priority=0,
        suspended=False,
    )


def test_an_event_says_nothing_of_what_nobody_asked_for():
    attempt = e.AttemptId(1, 2, 3)
    assert e.Completed() == e.Completed(b"null")
    assert e.Failed() == e.Failed(reason="TaskFailed", message="", error_type="", retryable=True)
    assert e.Deferred(until=5.0) == e.Deferred(until=5.0, result=b"null")
    assert e.AttemptEnded(attempt, e.Completed(), 1.0) == e.AttemptEnded(attempt, e.Completed(), 1.0, 0.0)
    assert e.AttemptTimedOut(attempt) == e.AttemptTimedOut(attempt, 0.0)
    assert e.RunAdmitted(1) == e.RunAdmitted(1, recovered=False)
    assert e.SettingsRequested(1) == e.SettingsRequested(1, None, None, None, clear_parallelism=False)
    assert e.InterruptRequested() == e.InterruptRequested(None)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("tasks", TaskChanged(1, 0, TaskState())),
        ("runs", RunChanged(1, RunHead())),
        ("started", AttemptStarted(e.AttemptId(1, 0, 1), 1.0)),
        ("closed", AttemptClosed(e.AttemptId(1, 0, 1), "completed", 1.0)),
        ("results", ResultRecorded(1, 0, b"1")),
    ],
)
def test_one_change_is_enough_for_a_commit(where, what):
    changes = Changes()
    getattr(changes, where).append(what)
    assert changes


def test_what_concerns_memory_alone_is_nothing_to_commit():
    attempt = e.AttemptId(1, 0, 1)
    changes = Changes(
        ready={1: [0]}, unmet={1: {0: 1}}, abandoned=[attempt], returned=[attempt], draining=True, workers=1
    )
    assert not changes
    assert (Changes().draining, Changes().workers) == (False, 0)
    assert AttemptClosed(attempt, "completed", 1.0)[3:] == ("", "", "")
