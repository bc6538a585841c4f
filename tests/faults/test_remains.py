"""What a status tells of a run whose state is lost."""

from __future__ import annotations

import pytest

from flowweaver.manifest import Accepted, results_needed, validate
from flowweaver.operator.remains import remains_of
from flowweaver.policy import Policy

KIND = {"apiVersion": "flowweaver.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w"}}


def remains(tasks, phases, counts=None, **spec):
    """`phases` are those in the status, by task."""
    raw = {**KIND, "spec": {"tasks": tasks, **spec}}
    verdict = validate(raw, Policy.permissive())
    assert isinstance(verdict, Accepted), verdict
    status = {"tasks": [{"name": name, "phase": phase, "attempts": 2} for name, phase in phases.items()]}
    if counts is not None:
        status["counts"] = counts
    needed = results_needed(raw, verdict.workflow, Policy.permissive())
    names = [task.name for task in verdict.plan.tasks]
    found = remains_of(status, verdict.plan, needed)
    return found, [names[position] for position in found.given]


def shell(name, *depends_on, script="true"):
    return {"name": name, "dependsOn": list(depends_on), "shell": {"script": script}}


def value(name, text, *depends_on):
    return {"name": name, "dependsOn": list(depends_on), "value": text}


def test_what_completed_and_nobody_asks_for_is_kept_with_its_attempts():
    found, kept = remains([shell("a"), shell("b", "a"), shell("c", "b")], {"a": "Completed", "b": "Completed"})
    assert kept == ["a", "b"]
    state, result = found.given[0]
    assert (state.phase, state.attempts, state.reason, result) == ("completed", 2, "RebuiltFromStatus", b"null")
    assert not found.repeats


def test_what_is_under_way_is_told_of():
    found, kept = remains([shell("a"), shell("b"), shell("c")], {"a": "Running", "b": "Waiting", "c": "Failed"})
    assert (found.begun, kept) == (("a", "b"), [])
    assert "these were under way, and run again whether they have ended or not: a, b" in found.sentence()


def test_a_result_that_is_needed_has_its_task_run_again_and_all_whose_results_that_one_needs():
    tasks = [
        shell("a"),
        {"name": "b", "shell": {"script": "true", "env": [{"name": "A", "value": "${string(tasks.a.result)}"}]}},
        shell("beside", "b"),
        value("c", "${tasks.b.result}", "beside"),
    ]
    found, kept = remains(tasks, {"a": "Completed", "b": "Completed", "beside": "Completed"})
    assert (found.again, kept) == (("a", "b"), ["beside"])
    assert "run again because their results are needed: a, b" in found.sentence()
    assert found.repeats


def test_a_value_is_worked_out_again_without_a_word_since_no_body_runs():
    found, kept = remains([value("a", 1), value("b", "${tasks.a.result}"), shell("c", "b")], {"a": "Completed"})
    assert (found.again, kept) == ((), [])
    assert not found.repeats


def test_the_result_of_a_wait_is_known():
    tasks = [{"name": "a", "wait": {"duration": "1s"}}, value("b", "${tasks.a.result}")]
    _, kept = remains(tasks, {"a": "Completed"})
    assert kept == ["a"]


@pytest.mark.parametrize("asked", ["phase", "attempts", "error"])
def test_whoever_asks_only_how_a_task_ended_needs_no_result(asked):
    value = f'${{tasks.load.{asked}}} ${{tasks["clean-up"].{asked}}}'
    report = {"name": "report", "triggerRule": "AllFinished", "value": value}
    both = [shell("load"), shell("clean-up")]
    _, kept = remains([*both, report], {"load": "Completed", "clean-up": "Completed"})
    assert kept == ["load", "clean-up"]
    report["value"] += ' ${string(tasks["clean-up"].result)}'
    found, kept = remains([*both, report], {"load": "Completed", "clean-up": "Completed"})
    assert (found.again, kept) == (("clean-up",), ["load"])


def test_a_function_may_take_any_result_that_it_depends_on():
    tasks = [shell("a"), {"name": "b", "dependsOn": ["a"], "python": {"function": "json:dumps", "args": {"obj": 1}}}]
    assert remains(tasks, {"a": "Completed"})[0].again == ("a",)


def test_outputs_need_the_results_that_they_hand_out():
    tasks = [shell("a"), shell("b"), shell("c")]
    found, kept = remains(
        tasks, {"a": "Completed", "b": "Completed"}, outputs=[{"name": "o", "value": "${tasks.a.result}"}]
    )
    assert (found.again, kept) == (("a",), ["b"])


def test_completed_tasks_that_had_no_room_in_the_status_are_told_of():
    found, _ = remains([shell("a"), shell("b")], {"a": "Completed"}, counts={"completed": 2})
    assert (found.unsaid, found.repeats) == (1, True)
    assert "1 more completed ones had no room in the status, and run again" in found.sentence()


def test_a_status_that_makes_no_sense_is_no_error():
    raw = {**KIND, "spec": {"tasks": [shell("a")]}}
    verdict = validate(raw, Policy.permissive())
    for status in (
        {},
        {"tasks": None},
        {"tasks": ["a", {"name": 1}], "counts": {"completed": "many"}},
        {"counts": None},
    ):
        assert remains_of(status, verdict.plan, {}).given == {}
