"""What 0.2.2 got wrong when it executed something. Each test fails there, in the way that its mark says."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import types
from itertools import pairwise

import pytest

from flowweaver import AsyncExecutor, SequentialExecutor, Task, TaskStatus, ThreadedExecutor, Workflow

defect = pytest.mark.defect


def of_tasks(*tasks, name="built"):
    workflow = Workflow(name)
    for one in tasks:
        workflow.add_task(one)
    return workflow


# ------------------------------------------------------------------------------------------------------------ timeouts


@defect(AssertionError, says="nobody stopped it")
@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])
def test_a_timeout_holds_for_a_function_that_nobody_awaits(executor_class, gate, outcome, patience):
    came_back = []
    slow = Task("slow", lambda: came_back.append(gate.wait(patience)), timeout=0.1)

    failure = outcome(executor_class(), of_tasks(slow))

    assert not came_back, "nobody stopped it"
    assert isinstance(failure, RuntimeError)
    assert "slow" in str(failure)
    assert slow.status is TaskStatus.FAILED
    assert "timeout" in slow.error.lower()
    assert "0.1" in slow.error


@defect(AssertionError, says="beside each other")
def test_an_attempt_that_timed_out_never_runs_beside_its_own_retry(outcome):
    running, most, lock = [0], [0], threading.Lock()

    def slow():
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.4)
        with lock:
            running[0] -= 1

    outcome(AsyncExecutor(), of_tasks(Task("slow", slow, timeout=0.1, retries=1)))

    assert most == [1], "two attempts ran beside each other"


@defect(AssertionError, says="Nones")
def test_a_timeout_of_the_body_s_own_is_told_as_it_is(outcome):
    def ask():
        raise TimeoutError("the server did not answer")

    asking = Task("ask", ask)

    outcome(AsyncExecutor(), of_tasks(asking))

    assert asking.error == "the server did not answer"


# ------------------------------------------------------------------------------------------------- retries, callbacks


@defect(AssertionError, says="no pause")
def test_between_two_attempts_there_is_a_pause_that_grows(executor_class, outcome):
    began = []

    def bad():
        began.append(time.monotonic())
        raise ValueError("boom")

    outcome(executor_class(), of_tasks(Task("bad", bad, retries=2)))

    pauses = [after - before for before, after in pairwise(began)]
    assert len(pauses) == 2
    assert pauses[0] >= 0.09, "no pause"
    assert pauses[1] >= 0.18, "no growth"


@defect(RuntimeError, says="task: a")
@pytest.mark.parametrize("when", list(TaskStatus)[1:3], ids=["when it starts", "when it is done"])
def test_a_callback_that_fails_changes_nothing(executor_class, when):
    ran, told = [], []

    def listen(name, status):
        told.append(status)
        if status is when:
            raise RuntimeError("the listener is broken")

    workflow = of_tasks(Task("a", lambda: ran.append("a") or 1, on_status_change=listen))
    executor_class().execute(workflow)

    assert ran == ["a"]
    assert workflow.get_task_result("a") == 1
    assert told == [TaskStatus.RUNNING, TaskStatus.COMPLETED]


# ------------------------------------------------------------------------------------------------------- coroutines


async def fetch(number):
    await asyncio.sleep(0)
    return {"id": number}


@defect(AssertionError, says="coroutine object")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_coroutine_that_a_lambda_returns_is_awaited(executor_class):
    workflow = of_tasks(*[Task(f"user_{number}", lambda number=number: fetch(number)) for number in (1, 2, 3)])
    workflow.add_task(Task("ids", lambda **users: sorted(user["id"] for user in users.values())), ["user_1", "user_3"])

    try:
        executor_class().execute(workflow)
    except RuntimeError:
        assert workflow.get_task_result("user_1") == {"id": 1}
        raise

    assert [workflow.get_task_result(f"user_{number}") for number in (1, 2, 3)] == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert workflow.get_task_result("ids") == [1, 3]


@defect(RuntimeError, says="fetch")
@pytest.mark.parametrize("executor_class", [SequentialExecutor, ThreadedExecutor])
def test_every_executor_awaits_a_coroutine_function(executor_class):
    async def fetch():
        await asyncio.sleep(0)
        return "fetched"

    workflow = of_tasks(Task("fetch", fetch))

    executor_class().execute(workflow)

    assert workflow.get_task_result("fetch") == "fetched"


@defect(AssertionError, says="policy")
def test_the_event_loop_policy_of_the_program_stays_its_own(monkeypatch):
    class Policy(asyncio.DefaultEventLoopPolicy):
        pass

    faster = types.ModuleType("uvloop")
    faster.EventLoopPolicy = Policy
    faster.new_event_loop = faster.Loop = asyncio.new_event_loop
    faster.run = asyncio.run
    monkeypatch.setitem(sys.modules, "uvloop", faster)
    before = asyncio.get_event_loop_policy()
    try:
        AsyncExecutor(use_uvloop=True).execute(of_tasks(Task("a", lambda: 1)))
        after = asyncio.get_event_loop_policy()
    finally:
        asyncio.set_event_loop_policy(before)

    assert after is before, "the policy is another one"


@defect(AssertionError, says="the loop is another one")
def test_the_event_loop_of_the_program_stays_its_own():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        AsyncExecutor().execute(of_tasks(Task("a", lambda: 1)))
        after = asyncio.get_event_loop_policy().get_event_loop()
    finally:
        asyncio.set_event_loop(None)
        loop.close()

    assert after is loop, "the loop is another one"


# ------------------------------------------------------------------------------------------------------------ the order


@defect(AssertionError, says="waited for a stranger")
@pytest.mark.parametrize("executor_class", [ThreadedExecutor, AsyncExecutor])
def test_a_task_waits_for_its_own_dependencies_and_for_nothing_else(executor_class, gate, patience):
    workflow = of_tasks(Task("quick", lambda: 1), Task("slow", lambda: gate.wait(patience)))
    workflow.add_task(Task("next", lambda quick: gate.set() or quick), depends_on=["quick"])

    executor_class().execute(workflow)

    assert workflow.get_task_result("slow") is True, "next waited for a stranger"


@defect(AssertionError, says="waited for a stranger")
def test_an_awaited_workflow_has_no_layers_either(patience):
    async def main():
        gate = asyncio.Event()

        async def slow():
            try:
                await asyncio.wait_for(gate.wait(), patience)
            except TimeoutError:
                return False
            return True

        async def last(quick):
            loop.call_soon_threadsafe(gate.set)

        workflow = of_tasks(Task("quick", lambda: 1), Task("slow", slow))
        workflow.add_task(Task("last", last), depends_on=["quick"])
        loop = asyncio.get_running_loop()
        await workflow.execute_async()
        return workflow.get_task_result("slow")

    assert asyncio.run(main()), "last waited for a stranger"


@defect(AssertionError, says="what only its sibling asked for")
def test_in_an_awaited_workflow_each_task_gets_the_results_of_its_own_dependencies():
    workflow = of_tasks(Task("mine", lambda: 1), Task("yours", lambda: 2))
    workflow.add_task(Task("first", lambda **found: found), depends_on=["mine"])
    workflow.add_task(Task("second", lambda **found: found), depends_on=["yours"])

    asyncio.run(workflow.execute_async())

    assert workflow.get_task_result("first") == {"mine": 1}, "it got what only its sibling asked for"
    assert workflow.get_task_result("second") == {"yours": 2}


@defect(AssertionError, says="quadratic")
def test_adding_a_task_costs_the_same_however_many_there_are():
    def seconds(number):
        workflow = Workflow("large")
        before = time.thread_time()
        for index in range(number):
            workflow.add_task(Task(f"t{index}", print), depends_on=[f"t{index - 1}"] if index else [])
        return time.thread_time() - before

    few = min(seconds(100) for _ in range(5))
    many = min(seconds(1_600) for _ in range(2))

    assert many < 64 * few, "sixteen times as many are more than 64 times the work: that is quadratic"


# ----------------------------------------------------------------------------------------------------- after a failure


@defect(AssertionError, says="nothing leads to the original")
def test_the_failure_leads_to_the_exception_that_the_body_raised(executor_class, outcome):
    original = ValueError("boom")

    def risky():
        raise original

    found = outcome(executor_class(), of_tasks(Task("risky", risky)))

    chain = []
    while found is not None:
        chain.append(found)
        found = found.__cause__
    assert original in chain, "nothing leads to the original"


@defect(AssertionError, says="still running")
def test_after_a_failure_no_task_is_left_running(outcome):
    async def slow():
        await asyncio.sleep(0.3)

    workflow = of_tasks(Task("bad", lambda: 1 / 0), Task("slow", slow))

    outcome(AsyncExecutor(), workflow)

    assert workflow.get_workflow_stats()["running"] == 0, "still running"


@defect(RuntimeError, says="second")
def test_the_asynchronous_executor_goes_on_after_a_failure(outcome):
    broken = [True]
    workflow = of_tasks(Task("first", lambda: 1))
    workflow.add_task(Task("second", lambda first: 1 / 0 if broken else first + 1), depends_on=["first"])
    executor = AsyncExecutor()
    outcome(executor, workflow)

    broken.clear()
    executor.execute(workflow)

    assert workflow.get_task_result("second") == 2


# -------------------------------------------------------------------------------------------------- what was promised


@defect(AttributeError, says="execute")
def test_a_workflow_is_executed_by_the_executor_that_it_is_given(executor_class):
    workflow = of_tasks(Task("a", lambda: 1))

    workflow.execute(executor_class())

    assert workflow.get_workflow_stats()["completed"] == 1


@defect(TypeError, says="depends_on")
def test_a_task_may_name_its_dependencies_itself():
    workflow = of_tasks(Task("a", lambda: 1), Task("b", lambda a: a + 1, depends_on=["a"]))

    SequentialExecutor().execute(workflow)

    assert workflow.get_dependencies("b") == ["a"]
    assert workflow.get_task_result("b") == 2


@defect(AssertionError, says="no signature found")
def test_a_builtin_without_a_signature_can_be_a_task(executor_class, outcome):
    empty = Task("empty", dict)

    failure = outcome(executor_class(), of_tasks(empty))

    assert empty.error is None
    assert failure is None
    assert empty.result == {}


@defect(AssertionError, says="in the log")
def test_no_result_is_written_to_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    for executor in (SequentialExecutor(), ThreadedExecutor(), AsyncExecutor()):
        workflow = of_tasks(Task("login", lambda: {"password": "s3cr3t"}), name="logged")
        workflow.add_task(Task("use", lambda login: login["password"].upper()[:0]), depends_on=["login"])
        executor.execute(workflow)

    told = [record.getMessage() for record in caplog.records]
    assert any("logged" in line for line in told)
    assert not [line for line in told if "s3cr3t" in line], "the password is in the log"
