"""The table of transitions."""

from __future__ import annotations

import pytest

from flowweaver.core.phases import TRANSITIONS, Following, RunPhase, Step, TaskPhase, after
from flowweaver.errors import IllegalTransition


def test_what_is_not_in_the_table_is_refused_with_the_tasks_name():
    with pytest.raises(IllegalTransition, match='task "load" is completed and can not start'):
        after(TaskPhase.COMPLETED, Step.START, task="load")


def test_nothing_leaves_completed():
    assert not [step for phase, step in TRANSITIONS if phase is TaskPhase.COMPLETED]


def test_only_a_rerun_leaves_another_finished_phase():
    assert {step for phase, step in TRANSITIONS if phase.finished} == {Step.RESET}


def test_every_phase_can_be_reached_and_every_step_is_used():
    assert set(TRANSITIONS.values()) == set(TaskPhase)
    assert {step for _, step in TRANSITIONS} == set(Step)


def test_which_phases_are_the_end():
    assert [phase for phase in TaskPhase if phase.finished] == ["completed", "failed", "skipped", "cancelled"]
    assert [phase for phase in RunPhase if phase.finished] == ["completed", "failed", "cancelled"]


@pytest.mark.parametrize("step", Step)
def test_what_follows_from_one_step_is_what_the_table_says_of_it(step):
    following = Following(step)
    for phase in TaskPhase:
        if (phase, step) in TRANSITIONS:
            assert following[phase] is TRANSITIONS[phase, step]
            continue
        with pytest.raises(IllegalTransition, match=f"^a task that is {phase} can not {step}$"):
            following[phase]
