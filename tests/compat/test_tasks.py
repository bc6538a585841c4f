"""A task by itself, and the decorator."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import pickle
from datetime import datetime
from fractions import Fraction

import pytest

from flowweaver import Task, TaskStatus, task


def seven():
    return 7


class Counter:
    def __init__(self, start):
        self.count = start

    def __call__(self):
        self.count += 1
        return self.count


def failing(times, result=None, error="boom"):
    """A function that raises that many times, and then returns."""
    left = iter(range(times))

    def call():
        if next(left, None) is not None:
            raise ValueError(error)
        return result

    return call


def test_a_new_task_is_pending_and_knows_nothing():
    new = Task("seven", seven)

    assert (new.name, new.fn, new.retries, new.timeout) == ("seven", seven, 0, None)
    assert (new.status, new.result, new.error) == (TaskStatus.PENDING, None, None)
    assert (new.on_status_change, new.on_retry, new.started_at, new.completed_at) == (None, None, None, None)


def test_everything_about_a_task_can_be_given_by_position():
    def changed(name, status): ...

    def retried(name, attempt): ...

    began, ended = datetime(2026, 1, 2, 3, 4, 5), datetime(2026, 1, 2, 3, 4, 6)

    made = Task("seven", seven, 2, 1.5, TaskStatus.COMPLETED, 7, "late", changed, retried, began, ended)

    assert (made.retries, made.timeout, made.status, made.result, made.error) == (
        2,
        1.5,
        TaskStatus.COMPLETED,
        7,
        "late",
    )
    assert (made.on_status_change, made.on_retry) == (changed, retried)
    assert (made.started_at, made.completed_at) == (began, ended)


def test_a_task_can_be_executed_alone():
    alone = Task("seven", seven)

    assert alone.execute() is None
    assert (alone.status, alone.result, alone.error) == (TaskStatus.COMPLETED, 7, None)


def test_a_failure_of_a_task_alone_is_recorded_and_not_raised():
    alone = Task("risky", failing(1))

    alone.execute()

    assert (alone.status, alone.result, alone.error) == (TaskStatus.FAILED, None, "boom")


def test_the_times_are_local_and_have_no_zone():
    alone = Task("seven", seven)
    before = datetime.now()

    alone.execute()

    assert before <= alone.started_at <= alone.completed_at <= datetime.now()
    assert alone.started_at.tzinfo is None


def test_a_context_goes_to_the_parameters_of_its_names():
    some = Task("some", lambda left, right=10: left - right)
    every = Task("every", lambda **found: found)

    some.execute({"left": 1, "other": 3})
    every.execute({"left": 1, "other": 3})

    assert some.result == -9
    assert every.result == {"left": 1, "other": 3}


def test_retries_are_further_attempts_and_each_is_announced():
    announced = []
    flaky = Task(
        "flaky", failing(2, "done"), retries=3, on_retry=lambda name, attempt: announced.append((name, attempt))
    )

    flaky.execute()

    assert (flaky.status, flaky.result, flaky.error) == (TaskStatus.COMPLETED, "done", None)
    assert announced == [("flaky", 1), ("flaky", 2)]


def test_the_status_changes_are_announced_once_each_whatever_the_number_of_attempts():
    seen = []
    good = Task("good", failing(1, 7), retries=1, on_status_change=lambda name, status: seen.append((name, status)))
    bad = Task("bad", failing(9), retries=1, on_status_change=lambda name, status: seen.append((name, status)))

    good.execute()
    bad.execute()

    assert seen == [
        ("good", TaskStatus.RUNNING),
        ("good", TaskStatus.COMPLETED),
        ("bad", TaskStatus.RUNNING),
        ("bad", TaskStatus.FAILED),
    ]


def test_a_coroutine_function_is_known_as_one():
    async def fetch(page=1): ...

    assert Task("fetch", fetch).is_async() is True
    assert Task("fetch", functools.partial(fetch, page=2)).is_async() is True
    assert Task("seven", seven).is_async() is False


def test_an_asynchronous_task_alone_is_awaited():
    async def fetch(page):
        await asyncio.sleep(0)
        return {"page": page}

    alone = Task("fetch", fetch)

    asyncio.run(alone.execute_async({"page": 3}))

    assert (alone.status, alone.result) == (TaskStatus.COMPLETED, {"page": 3})


def test_an_asynchronous_task_alone_is_not_executed_synchronously():
    async def fetch(): ...

    with pytest.raises(RuntimeError, match=r"fetch.*execute_async"):
        Task("fetch", fetch).execute()


def test_a_synchronous_task_alone_can_be_awaited_too():
    alone = Task("seven", seven)

    asyncio.run(alone.execute_async())

    assert (alone.status, alone.result) == (TaskStatus.COMPLETED, 7)


def test_an_asynchronous_task_that_takes_too_long_says_so():
    async def forever():
        await asyncio.Event().wait()

    slow = Task("slow", forever, timeout=0.05)

    asyncio.run(slow.execute_async())

    assert slow.status is TaskStatus.FAILED
    assert "timeout" in slow.error.lower()
    assert "0.05" in slow.error


def test_tasks_are_compared_by_what_they_hold():
    assert Task("seven", seven) == Task("seven", seven)
    assert Task("seven", seven) != Task("seven", seven, retries=1)
    assert Task("seven", seven) != "seven"


def test_a_task_shows_what_it_holds():
    shown = repr(Task("seven", seven, retries=4))

    assert shown.startswith("Task(")
    assert "name='seven'" in shown
    assert "retries=4" in shown


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_task_is_equal_and_a_task_of_its_own(copied):
    original = Task("seven", seven, retries=2)
    original.execute()

    other = copied(original)

    assert other == original
    other.status = TaskStatus.PENDING
    assert original.status is TaskStatus.COMPLETED


def test_a_task_is_a_dataclass_of_which_another_one_can_be_made():
    template = Task("template", seven, retries=2, timeout=3.0)

    other = dataclasses.replace(template, name="other", retries=0)

    assert dataclasses.is_dataclass(Task)
    assert (other.name, other.fn, other.retries, other.timeout) == ("other", seven, 0, 3.0)
    assert {"name", "fn", "retries", "timeout", "status", "result", "error"} <= dataclasses.asdict(template).keys()
    assert [field.name for field in dataclasses.fields(Task)][:5] == ["name", "fn", "retries", "timeout", "status"]


def test_a_dataclass_can_be_built_on_a_task():
    @dataclasses.dataclass
    class Owned(Task):
        owner: str = "nobody"

    mine = Owned("seven", seven, retries=1, owner="me")
    mine.execute()

    assert (mine.name, mine.retries, mine.owner, mine.result) == ("seven", 1, "me", 7)


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (functools.partial(sorted, [4, 3]), [3, 4]),
        ("some text".upper, "SOME TEXT"),
        (Counter(3), 4),
        (Fraction, Fraction(0)),
        (print, None),
    ],
    ids=["a partial", "a bound method", "an object", "a class", "a builtin"],
)
def test_whatever_can_be_called_can_be_a_task(function, result):
    alone = Task("call", function)

    alone.execute()

    assert alone.error is None
    assert alone.result == result


def test_a_decorated_function_stays_the_function_that_it_was():
    def add(left: int, right: int = 2) -> int:
        """Add."""
        return left + right

    signature = inspect.signature(add)

    assert task(add) is add
    assert task(retries=3)(add) is add
    assert add(1) == 3
    assert inspect.signature(add) == signature
    assert (add.__name__, add.__doc__) == ("add", "Add.")


def test_the_decorator_keeps_what_it_was_told_with_the_function():
    def changed(name, status): ...

    def retried(name, attempt): ...

    @task(name="fetch page", retries=3, timeout=30, on_status_change=changed, on_retry=retried)
    def fetch(url="x"):
        return url

    told = fetch.__flowweaver__

    assert {key: told[key] for key in ("name", "retries", "timeout", "on_status_change", "on_retry")} == {
        "name": "fetch page",
        "retries": 3,
        "timeout": 30,
        "on_status_change": changed,
        "on_retry": retried,
    }
    assert told["signature"] == inspect.signature(fetch)


@pytest.mark.parametrize("decorate", [task, task(), task(retries=1), task(None)])
def test_without_a_name_the_function_s_own_is_taken(decorate):
    def fetch(): ...

    assert decorate(fetch).__flowweaver__["name"] == "fetch"


def test_a_name_may_come_first():
    @task("other")
    def fetch(): ...

    assert fetch.__flowweaver__["name"] == "other"
