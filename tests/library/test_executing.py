"""What holds for every executor with every store."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest

from flowweaver import (
    AsyncExecutor,
    EventLoopRunning,
    RetryPolicy,
    SequentialExecutor,
    Task,
    TaskExecutionError,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    WorkflowRunningError,
    WorkflowStatus,
    current_task,
)

AT_ONCE = RetryPolicy(delay=0.0)
PATIENCE = 20.0


def workflow_of(*tasks: tuple, **settings) -> Workflow:
    """A workflow of (name, function, dependencies)."""
    workflow = Workflow("w", **settings)
    for name, fn, *depends_on in tasks:
        workflow.add_task(fn if isinstance(fn, Task) else Task(name, fn), depends_on)
    return workflow


def test_results_go_to_the_parameters_of_their_names(executor):
    async def later(a):
        await asyncio.sleep(0)
        return a * 2

    workflow = workflow_of(
        ("a", lambda: 20),
        ("b-c", lambda: 1),
        ("later", later, "a"),
        ("lambda", lambda a: later(a), "a"),
        ("sum", lambda later, b_c, unrelated=1: later + b_c + unrelated, "later", "b-c"),
        ("all", lambda **results: sorted(results), "a", "b-c", "lambda"),
    )
    assert executor.execute(workflow) is workflow
    assert workflow.results == {
        "a": 20,
        "b-c": 1,
        "later": 40,
        "lambda": 40,
        "sum": 42,
        "all": ["a", "b-c", "lambda"],
    }
    assert workflow.status is WorkflowStatus.COMPLETED


@pytest.mark.parametrize("value", [0, "", [], False, None, {}, 0.0])
def test_falsy_results_stay_what_they_are(executor, value):
    workflow = workflow_of(("a", lambda: value), ("b", lambda a: [a], "a"))
    executor.execute(workflow)
    assert workflow.get_task_result("a") == value
    assert type(workflow.get_task_result("a")) is type(value)
    assert workflow.get_task_result("b") == [value]


def test_an_empty_workflow_completes(executor):
    workflow = Workflow("empty")
    executor.execute(workflow)
    assert workflow.status is WorkflowStatus.COMPLETED
    assert workflow.results == {}


def test_a_failure_says_which_task_and_why(executor):
    workflow = workflow_of(
        ("good", lambda: 1), ("bad", lambda good: [][good], "good"), ("after", lambda bad: bad, "bad")
    )
    with pytest.raises(WorkflowExecutionError, match="'w' failed at task 'bad': .*IndexError") as raised:
        executor.execute(workflow)
    failure = raised.value.__cause__
    assert isinstance(raised.value, RuntimeError)
    assert isinstance(failure, TaskExecutionError)
    assert raised.value.failures == (failure,)
    assert (failure.task, failure.attempt, failure.error_type) == ("bad", 1, "IndexError")
    assert isinstance(failure.__cause__, IndexError)
    assert workflow.get_task("bad").error == "list index out of range"
    statuses = [task.status for task in workflow.tasks.values()]
    assert statuses == [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.PENDING]


def test_after_a_failure_the_same_object_goes_on_where_it_stopped(executor):
    ran, broken = [], [True]

    def second():
        ran.append("second")
        if broken:
            raise ValueError("not yet")
        return 2

    workflow = workflow_of(("first", lambda: ran.append("first")), ("second", second, "first"))
    with pytest.raises(RuntimeError):
        executor.execute(workflow)
    broken.clear()
    executor.execute(workflow)
    assert ran == ["first", "second", "second"]
    assert workflow.get_task_result("second") == 2


def test_what_has_completed_does_not_run_again_until_reset_or_fresh(executor):
    ran = []
    workflow = workflow_of(("a", lambda: ran.append(1)))
    executor.execute(workflow)
    executor.execute(workflow)
    assert len(ran) == 1
    workflow.execute(executor, fresh=True)
    assert len(ran) == 2


def test_retries_wait_and_are_told(executor):
    starts, told = [], []

    def flaky():
        starts.append(time.monotonic())
        if len(starts) < 3:
            raise OSError("again")
        return "done"

    flaky_task = Task(
        "flaky", flaky, retries=2, retry=RetryPolicy(delay=0.05, factor=2.0), on_retry=lambda *each: told.append(each)
    )
    workflow = workflow_of(("flaky", flaky_task))
    executor.execute(workflow)
    assert told == [("flaky", 1), ("flaky", 2)]
    assert starts[1] - starts[0] >= 0.05
    assert starts[2] - starts[1] >= 0.1
    assert workflow.get_task("flaky").attempts == 3


def test_errors_that_are_not_worth_it_are_not_tried_again(executor):
    ran = []

    def wrong():
        ran.append(1)
        raise ValueError("for good")

    policy = RetryPolicy(delay=0.0, on=(OSError,))
    with pytest.raises(WorkflowExecutionError):
        executor.execute(workflow_of(("wrong", Task("wrong", wrong, retries=5, retry=policy))))
    assert len(ran) == 1


def test_a_timeout_ends_the_task_and_its_retry_never_runs_beside_it(executor):
    lock, beside = threading.Lock(), []

    def slow():
        beside.append(not lock.acquire(blocking=False))
        if not beside[-1]:
            time.sleep(0.4)
            lock.release()

    workflow = workflow_of(("slow", Task("slow", slow, retries=1, timeout=0.1, retry=AT_ONCE)))
    with pytest.raises(WorkflowExecutionError, match="timeout of 0.1 s"):
        executor.execute(workflow)
    assert beside == [False, False]
    assert workflow.get_task("slow").status is TaskStatus.FAILED


def test_a_timeout_does_not_wait_for_a_body_that_does_not_return(executor):
    gate = threading.Event()
    workflow = workflow_of(("stuck", Task("stuck", lambda: gate.wait(PATIENCE), timeout=0.1)))
    began = time.monotonic()
    with pytest.raises(WorkflowExecutionError):
        executor.execute(workflow)
    assert time.monotonic() - began < PATIENCE / 2
    gate.set()


def test_a_task_can_see_that_nobody_waits_for_it_any_more(executor):
    seen = threading.Event()

    def watchful():
        if current_task().wait(PATIENCE):
            seen.set()

    with pytest.raises(WorkflowExecutionError):
        executor.execute(workflow_of(("watchful", Task("watchful", watchful, timeout=0.05))))
    assert seen.wait(PATIENCE)


@pytest.mark.parametrize("raised", [SystemExit(3), asyncio.CancelledError(), GeneratorExit(), BaseException("odd")])
def test_whatever_a_body_raises_is_its_own_failure(executor, raised):
    def body():
        raise raised

    with pytest.raises(WorkflowExecutionError, match=type(raised).__name__):
        executor.execute(workflow_of(("body", body)))


def test_context_variables_reach_the_body_and_do_not_leak_from_it(executor):
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("from outside")

    def body():
        found = variable.get()
        variable.set("from inside")
        return found

    workflow = workflow_of(("first", body), ("second", body, "first"))
    executor.execute(workflow)
    assert workflow.results == {"first": "from outside", "second": "from outside"}
    assert variable.get() == "from outside"


def test_a_skipped_dependencys_parameter_is_left_out(executor):
    last = Task("last", lambda bad="absent", skipped="absent": [bad, skipped], trigger_rule="all_finished")
    workflow = workflow_of(
        ("bad", lambda: 1 / 0),
        ("skipped", lambda bad: bad, "bad"),
        ("last", last, "bad", "skipped"),
        failure_policy="continue",
    )
    with pytest.raises(WorkflowExecutionError, match="what did not need it has run"):
        executor.execute(workflow)
    assert workflow.get_task_result("last") == ["absent", "absent"]
    assert workflow.get_task_status("skipped") is TaskStatus.SKIPPED


def test_a_failure_that_is_allowed_fails_nothing(executor):
    workflow = workflow_of(("bad", Task("bad", lambda: 1 / 0, allow_failure=True)), ("good", lambda: 1))
    executor.execute(workflow)
    assert workflow.status is WorkflowStatus.COMPLETED
    assert workflow.get_task_status("bad") is TaskStatus.FAILED


def test_the_whole_run_can_have_a_timeout(executor):
    workflow = workflow_of(("slow", lambda: current_task().wait(PATIENCE)), timeout=0.1)
    with pytest.raises(WorkflowExecutionError, match="timeout of 0.1 s"):
        executor.execute(workflow)


@pytest.mark.parametrize("executor_of", [ThreadedExecutor, AsyncExecutor])
def test_a_task_starts_when_its_own_dependencies_are_done(executor_of):
    """Without a barrier between layers: `quick` is two layers deep, and `slow` waits for it."""
    done = threading.Event()
    workflow = workflow_of(
        ("a", lambda: 1),
        ("slow", lambda: done.wait(PATIENCE)),
        ("quick", lambda a: done.set(), "a"),
    )
    executor_of().execute(workflow)
    assert workflow.get_task_result("slow") is True


def test_an_object_that_is_being_executed_can_not_be_executed_or_changed(executor):
    errors = []
    workflow = Workflow("w")

    def inner():
        for attempt in (
            lambda: executor.execute(workflow),
            lambda: workflow.add_task(Task("x", inner)),
            workflow.reset,
        ):
            try:
                attempt()
            except (WorkflowRunningError, ValueError) as error:
                errors.append(type(error).__name__)

    workflow.add_task(Task("inner", inner))
    executor.execute(workflow)
    assert errors == ["WorkflowRunningError", "GraphError", "GraphError"]


def test_a_workflow_can_be_executed_in_a_task_of_another_one(executor):
    def outer(depth):
        def body():
            if not depth:
                return 1
            inner = Workflow(f"inner-{depth}")
            inner.add_task(Task("body", outer(depth - 1)))
            inner.add_task(Task("next", lambda body: body + 1, depends_on=["body"]))
            executor.execute(inner)
            return inner.get_task_result("next")

        return body

    workflow = workflow_of(*[(f"t{number}", outer(4)) for number in range(6)])
    with executor:
        executor.workers, before = executor.workers, threading.active_count()
        if not executor.durable:
            executor.execute(workflow)
            assert set(workflow.results.values()) == {5}
            assert threading.active_count() < before + 200
            return
        # With a store, six inner workflows of one name are one run: so one task is enough here.
        single = workflow_of(("t", outer(4)))
        executor.execute(single)
        assert single.results == {"t": 5}


def test_execute_in_an_event_loop_says_what_to_await(executor):
    async def notebook():
        with pytest.raises(EventLoopRunning, match="await workflow.execute_async"):
            executor.execute(Workflow("w"))
        with pytest.raises(RuntimeError, match="execute_async"):
            Workflow("w").execute()

    asyncio.run(notebook())


def test_execute_async_leaves_the_loop_running(executor):
    workflow = workflow_of(("slow", lambda: time.sleep(0.2)), ("next", lambda slow: 1, "slow"))

    async def notebook():
        ticks = 0
        running = asyncio.ensure_future(workflow.execute_async(executor))
        while not running.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert await running is workflow
        return ticks

    assert asyncio.run(notebook()) >= 5
    assert workflow.get_task_result("next") == 1


def test_a_cancelled_execute_async_leaves_a_run_that_goes_on(executor):
    ran, gate = [], threading.Event()

    def first():
        ran.append("first")
        gate.wait(1.0)

    workflow = workflow_of(("first", first), ("second", lambda first: ran.append("second"), "first"))

    async def cancelled():
        running = asyncio.ensure_future(workflow.execute_async(executor))
        while not ran:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert "second" not in ran
    executor.execute(workflow)
    assert ran[-1] == "second"
    assert ran.count("first") <= 2


def test_many_workflows_at_once_share_one_executor(executor):
    workflows = [Workflow(f"w{number}") for number in range(30)]
    for number, workflow in enumerate(workflows):
        workflow.add_task(Task("a", lambda number=number: number))
        workflow.add_task(Task("b", lambda a: a + 1), ["a"])
    assert executor.execute_all(workflows) == workflows
    assert [workflow.get_task_result("b") for workflow in workflows] == list(range(1, 31))


def test_of_many_workflows_the_others_go_on_when_one_fails(executor):
    good, bad = Workflow("good"), Workflow("bad")
    bad.add_task(Task("a", lambda: 1 / 0))
    good.add_task(Task("a", lambda: 1))
    good.add_task(Task("b", lambda a: a), ["a"])
    with pytest.raises(WorkflowExecutionError, match="'bad'"):
        executor.execute_all([bad, good])
    assert good.status is WorkflowStatus.COMPLETED


def test_coroutines_run_by_the_thousand():
    running, most = [0], [0]

    async def waits():
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.2)
        running[0] -= 1

    AsyncExecutor(max_concurrency=2000).execute(workflow_of(*[(f"t{number}", waits) for number in range(1500)]))
    assert most[0] > 1000


def test_awaited_without_an_executor_coroutines_run_in_the_callers_loop():
    async def notebook():
        mine = asyncio.get_running_loop()
        event = asyncio.Event()

        async def sets():
            event.set()
            return asyncio.get_running_loop() is mine

        async def waits():
            await event.wait()
            return True

        workflow = workflow_of(("waits", waits), ("sets", sets))
        await workflow.execute_async()
        return workflow.results

    assert asyncio.run(notebook()) == {"waits": True, "sets": True}


def test_the_sequential_executor_runs_bodies_in_the_calling_thread():
    workflow = workflow_of(
        ("a", threading.get_ident),
        ("b", threading.get_ident),
        ("limited", Task("limited", threading.get_ident, timeout=60)),
    )
    SequentialExecutor().execute(workflow)
    here = threading.get_ident()
    assert workflow.get_task_result("a") == workflow.get_task_result("b") == here
    assert workflow.get_task_result("limited") != here


def test_objects_that_json_can_not_carry_go_from_task_to_task_where_nothing_is_stored(executor_of):
    marker = object()
    workflow = workflow_of(("a", lambda: marker), ("b", lambda a: a is marker, "a"), ("c", lambda: {1, 2}))
    executor_of().execute(workflow)
    assert workflow.get_task_result("a") is marker
    assert workflow.get_task_result("b") is True
    assert workflow.get_task_result("c") == {1, 2}


@pytest.mark.parametrize(
    "value", [(1, 2), [(1, 2)], {"a": (1,)}, {1: 2}, "\ud800", ["\ud800"], {"\ud800": 1}, True, 2.5]
)
def test_where_nothing_is_stored_a_result_keeps_its_types(executor_of, value):
    workflow = workflow_of(("a", lambda: value), ("b", lambda a: a, "a"))
    executor_of().execute(workflow)
    for task in ("a", "b"):
        found = workflow.get_task_result(task)
        assert (found, repr(found)) == (value, repr(value))


def test_where_nothing_is_stored_a_result_that_json_carries_is_a_copy_for_each(executor_of):
    workflow = workflow_of(
        ("a", lambda: {"rows": [1]}), ("b", lambda a: a["rows"].append(2), "a"), ("c", lambda a, b: a, "a", "b")
    )
    executor_of().execute(workflow)
    assert workflow.get_task_result("c") == {"rows": [1]}


def test_a_list_that_contains_itself_is_passed_as_it_is(executor_of):
    endless: list = []
    endless.append(endless)
    workflow = workflow_of(("a", lambda: endless), ("b", lambda a: a is endless, "a"))
    executor_of().execute(workflow)
    assert workflow.get_task_result("b") is True


def test_with_a_store_they_are_refused_with_the_fix(executor_of, store_of):
    workflow = workflow_of(("a", lambda: {"when": {1, 2}}))
    with pytest.raises(WorkflowExecutionError, match=r"result\.when is of the type set"):
        executor_of(state_store=store_of()).execute(workflow)
