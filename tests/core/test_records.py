"""Values of the core: nobody changes one, and the garbage collector has nothing to do with them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from flowweaver.core.events import AttemptEnded, AttemptId, Completed
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.core.records import made, replace
from flowweaver.core.state import TaskState

VALUES = [
    TaskState(),
    Completed(),
    AttemptEnded(AttemptId(1, 2, 3), Completed(), 4.0),
    RetryPolicy(),
    TaskPlan(name="a", kind="value"),
    RunPlan(tasks=()),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_frozen_and_not_looked_at_by_the_garbage_collector(value):
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)
    assert not value.__struct_config__.gc


@pytest.mark.parametrize("kind", [RetryPolicy, RunPlan])
def test_what_has_many_fields_is_made_by_name(kind):
    with pytest.raises(TypeError):
        kind(())


def test_a_named_tuple_is_made_from_its_values():
    attempt = made(AttemptId, (1, 2, 3))
    assert (type(attempt), attempt, attempt.task) == (AttemptId, AttemptId(1, 2, 3), 2)


def test_a_copy_has_other_values_where_they_are_given():
    @dataclass(frozen=True)
    class Pair:
        a: int = 1
        b: int = 2

    assert replace(Pair(), b=3) == Pair(1, 3)
    assert replace(TaskState(attempts=2, failures=1), failures=0) == TaskState(attempts=2)
