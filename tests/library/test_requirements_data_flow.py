"""Requirement by requirement: how data goes from task to task, and that it does so when there is much of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random

import pytest

from flowweaver import AsyncExecutor, Task, Workflow, task


def graph(tasks: int, seed: int) -> dict[str, list[str]]:
    """Names with what each depends on: up to four of those before it."""
    chosen = random.Random(seed)
    names = [f"t{number}" for number in range(tasks)]
    return {name: chosen.sample(names[:index], chosen.randint(0, min(index, 4))) for index, name in enumerate(names)}


def digest(name: str, results: dict[str, str]) -> str:
    """What a task makes of everything that it was given: any other input gives another text."""
    return hashlib.sha256(json.dumps([name, sorted(results.items())]).encode()).hexdigest()


def computed_by_hand(dependencies: dict[str, list[str]]) -> dict[str, str]:
    results: dict[str, str] = {}
    for name, needed in dependencies.items():
        results[name] = digest(name, {each: results[each] for each in needed})
    return results


def test_each_task_gets_the_results_of_what_it_depends_on_and_no_others(executor):
    dependencies = graph(120, seed=1)
    workflow = Workflow("random")
    for name, needed in dependencies.items():
        workflow.add_task(Task(name, lambda name=name, **results: digest(name, results)), needed)

    executor.execute(workflow)

    assert workflow.results == computed_by_hand(dependencies)


def test_coroutines_and_functions_hand_results_to_each_other(executor):
    dependencies = graph(120, seed=2)
    workflow = Workflow("mixed")
    for number, (name, needed) in enumerate(dependencies.items()):

        async def awaited(name=name, **results):
            await asyncio.sleep(0)
            return digest(name, results)

        def called(name=name, **results):
            return digest(name, results)

        workflow.add_task(Task(name, awaited if number % 2 else called), needed)

    executor.execute(workflow)

    assert workflow.results == computed_by_hand(dependencies)


def test_one_result_reaches_hundreds_and_all_of_theirs_come_together(executor):
    workflow = Workflow("fan")
    workflow.add_task(Task("source", lambda: list(range(300))))
    parts = [f"part{number}" for number in range(300)]
    for number, name in enumerate(parts):
        workflow.add_task(Task(name, lambda source, number=number: source[number] ** 2), ["source"])
    workflow.add_task(Task("sum", lambda **found: sum(found.values())), parts)

    executor.execute(workflow)

    assert workflow.get_task_result("sum") == sum(number**2 for number in range(300))


def test_a_value_goes_through_a_long_chain(executor):
    workflow = Workflow("chain")
    workflow.add_task(Task("t0", lambda: [0]))
    for number in range(1, 250):
        workflow.add_task(
            Task(f"t{number}", lambda **found: [each + 1 for each in found.popitem()[1]]), [f"t{number - 1}"]
        )

    executor.execute(workflow)

    assert workflow.get_task_result("t249") == [249]


def test_megabytes_go_from_task_to_task(executor):
    workflow = Workflow("large")
    for number in range(8):
        workflow.add_task(Task(f"made{number}", lambda number=number: chr(97 + number) * (1 << 20)))
        workflow.add_task(
            Task(f"counted{number}", lambda **made: [(text[0], len(text)) for text in made.values()]), [f"made{number}"]
        )

    executor.execute(workflow)

    counted = [list(workflow.get_task_result(f"counted{number}")[0]) for number in range(8)]
    assert counted == [[chr(97 + number), 1 << 20] for number in range(8)]
    assert workflow.get_task_result("made7") == "h" * (1 << 20)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        2**70,
        1.5,
        1e308,
        True,
        False,
        None,
        "",
        'ünï 🎈 \x00\n\t"\\',
        [],
        {},
        [[], {}, None],
        {"": {"a": [1, {"b": ""}]}},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_whatever_json_knows_arrives_as_it_was(executor, value):
    got = []
    workflow = Workflow("types")
    workflow.add_task(Task("value", lambda: value))
    workflow.add_task(Task("got", lambda value: got.append(value)), ["value"])

    executor.execute(workflow)

    assert got == [value]
    assert type(got[0]) is type(value)
    assert workflow.get_task_result("value") == value


def test_with_a_store_no_task_can_change_what_another_one_gets(executor_of, store_of):
    def spoil(source):
        source["rows"].append("spoilt")

    workflow = Workflow("spoilt")
    workflow.add_task(Task("source", lambda: {"rows": [1]}))
    workflow.add_task(Task("first", spoil), ["source"])
    workflow.add_task(Task("second", spoil), ["source", "first"])
    workflow.add_task(Task("last", lambda source: source), ["source", "second"])

    executor_of(state_store=store_of()).execute(workflow)

    assert workflow.get_task_result("last") == {"rows": [1]}
    assert workflow.get_task_result("source") == {"rows": [1]}


def test_a_decorated_function_is_tested_by_calling_it_and_gets_the_same_in_a_workflow(executor):
    @task
    def prices() -> list[int]:
        return [3, 4]

    @task(retries=1)
    def total(prices: list[int], discount: int = 1) -> int:
        return sum(prices) - discount

    assert total(prices()) == 6
    assert total([1], discount=0) == 1

    workflow = Workflow("decorated")
    workflow.add_task(prices)
    workflow.add_task(total, depends_on=[prices])
    executor.execute(workflow)

    assert workflow.get_task_result("total") == 6


@pytest.mark.slow
def test_a_thousand_coroutines_each_hand_on_their_own_result(tmp_path):
    async def make(number):
        await asyncio.sleep(0.01)
        return number

    workflow = Workflow("thousand")
    for number in range(1_000):
        workflow.add_task(Task(f"made{number}", lambda number=number: make(number)))
        workflow.add_task(Task(f"got{number}", lambda **made: made.popitem()[1] * 2), [f"made{number}"])

    AsyncExecutor(max_concurrency=1_000).execute(workflow)

    assert [workflow.get_task_result(f"got{number}") for number in range(1_000)] == [
        2 * number for number in range(1_000)
    ]
