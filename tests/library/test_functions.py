"""How functions are run: on every executor, whatever they return and raise."""

import asyncio
import contextvars
import functools
import json
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from flowweaver.core.events import AttemptId, Completed, Failed
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.executors.event_loop import EventLoopExecutor
from flowweaver.executors.sequential import SequentialExecutor
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.library.functions import CALL, Binding, FunctionRunner
from flowweaver.ports import Attempt, Dependency
from flowweaver.runners import current_task
from flowweaver.testing.executors import PATIENCE_SECONDS, Endings, WallClock

RUN = 7
variable = contextvars.ContextVar("variable", default="default")


def attempt_of(position=0, number=1, *, run=RUN, kind=CALL, body=None, dependencies=None, name=None):
    tasks = tuple(TaskPlan(name=(name or f"task-{each}"), kind=kind, body=body or {}) for each in range(position + 1))
    return Attempt(
        id=AttemptId(run, position, number),
        task=tasks[position],
        run=RunPlan(tasks=tasks, name="w"),
        run_started_at=0.0,
        dependencies=dependencies or {},
    )


def completed(value):
    return Dependency("Completed", json.dumps(value).encode(), "", "", 1)


def binding_of(*functions, retry_on=None, **more):
    return Binding(
        functions=functions,
        retry_on=[retry_on] * len(functions),
        context=more.pop("context", None) or contextvars.copy_context(),
        **more,
    )


@contextmanager
def threaded(runner):
    executor = ThreadedExecutor(runner.run, 4, WallClock())
    yield executor
    executor.close(PATIENCE_SECONDS)


@contextmanager
def sequential(runner):
    executor = SequentialExecutor(runner.run, WallClock())
    executor.add_workers(3)
    yield executor
    executor.close(PATIENCE_SECONDS)


@contextmanager
def lanes(runner):
    """One lane for each of two runs, so that something can run beside something else."""
    executor = SequentialExecutor(runner.run, WallClock())
    lent = [executor.lend(RUN), executor.lend(RUN + 1)]
    servers = [threading.Thread(target=lane.serve) for lane in lent]
    for server in servers:
        server.start()
    yield executor
    executor.close(PATIENCE_SECONDS)
    for server in servers:
        server.join(PATIENCE_SECONDS)


@contextmanager
def event_loop(runner):
    executor = EventLoopExecutor(runner.begin, runner.run_async, runner.is_async, 4, WallClock())
    yield executor
    executor.close(PATIENCE_SECONDS)


@pytest.fixture(params=[threaded, sequential, lanes, event_loop], ids=lambda opened: opened.__name__)
def on(request):
    """An executor with its runner: `on.runner`, `on.start(attempt)`, `on.outcome(attempt)`."""
    runner, endings = FunctionRunner(), Endings()
    before = set(threading.enumerate())
    with request.param(runner) as executor:

        def start(attempt):
            executor.start(attempt, endings)
            return attempt

        def outcome(attempt):
            executor.start(attempt, endings)
            return endings.next().outcome

        def outcome_of(function, **binding):
            runner.bind(RUN, binding_of(function, **binding))
            return outcome(attempt_of())

        yield SimpleNamespace(
            runner=runner, executor=executor, endings=endings, start=start, outcome=outcome, outcome_of=outcome_of
        )
    assert set(threading.enumerate()) <= before


def returned(outcome):
    assert isinstance(outcome, Completed), outcome
    return json.loads(outcome.result)


def failure(outcome):
    assert isinstance(outcome, Failed), outcome
    return outcome


# ------------------------------------------------------------------------------------------------------- what returns


async def give(value):
    await asyncio.sleep(0)
    return value


class Asynchronous:
    async def __call__(self):
        return await give("object")

    async def method(self):
        return await give("method")

    @staticmethod
    async def static():
        return await give("static")


class Awaitable:
    def __await__(self):
        return give("awaitable").__await__()


@functools.wraps(give)
def decorated():
    return give("decorated")


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (lambda: 1, 1),
        (lambda: give("lambda"), "lambda"),
        (functools.partial(give, "partial"), "partial"),
        (functools.partial(lambda value: give(value), "partial of a lambda"), "partial of a lambda"),
        (Asynchronous(), "object"),
        (Asynchronous().method, "method"),
        (Asynchronous.static, "static"),
        (Awaitable, "awaitable"),
        (dict, {}),
        (lambda: (1, [2]), [1, [2]]),
        *((functools.partial(lambda value: value, value), value) for value in (0, "", False, [], {}, None, 0.0)),
    ],
)
def test_what_a_function_returns_or_gives_to_await_is_the_result(on, function, value):
    given = returned(on.outcome_of(function))
    assert given == value
    assert type(given) is type(value)


def test_a_decorated_function_that_gives_a_coroutine_is_awaited(on):
    decorated.__dict__.pop("__wrapped__", None)
    assert returned(on.outcome_of(decorated)) == "decorated"


async def numbers():
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: {1}, "return sorted"),
        (lambda: {1: 2}, "str(…) for its keys"),
        (lambda: (each for each in "ab"), "return list(…)"),
        (numbers, "async for each in"),
        (lambda: give({"a": object()}), "result.a is of the type object"),
        (lambda: float("nan"), "JSON does not have"),
    ],
)
def test_what_json_can_not_carry_is_refused_with_the_fix(on, function, words):
    refused = failure(on.outcome_of(function))
    assert refused.reason == "ResultNotJson"
    assert words in refused.message
    assert not refused.retryable


def test_a_result_that_is_too_large_is_refused(on):
    assert returned(on.outcome_of(lambda: "x" * 98, max_result_bytes=100)) == "x" * 98
    for large in (lambda: "x" * 99, lambda: ["x" * 99], lambda: "\u20ac" * 40, lambda: [1] * 60, lambda: 10**120):
        refused = failure(on.outcome_of(large, max_result_bytes=100))
        assert refused.reason == "ResultTooLarge"
        assert "at most 100 bytes" in refused.message


# --------------------------------------------------------------------------------------------------------- what raises


def raises(exc):
    def function():
        raise exc

    async def coroutine():
        await asyncio.sleep(0)
        raise exc

    return [function, coroutine, lambda: coroutine()]


@pytest.mark.parametrize("shape", [0, 1, 2])
@pytest.mark.parametrize(
    ("exc", "retryable", "words"),
    [
        (ValueError("wrong"), True, "wrong"),
        (SystemExit(3), False, "sys.exit(3)"),
        (KeyboardInterrupt(), False, ""),
        (GeneratorExit(), False, ""),
        (asyncio.CancelledError(), False, "the body was cancelled"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), True, "bad"),
        (ValueError("a\ud800\x1b[31mb"), True, "a\ufffdb"),
    ],
)
def test_what_a_body_raises_is_its_failure_and_is_kept(on, exc, shape, retryable, words):
    binding = binding_of(raises(exc)[shape])
    on.runner.bind(RUN, binding)
    failed = failure(on.outcome(attempt_of()))
    assert (failed.reason, failed.error_type) == ("TaskFailed", type(exc).__name__)
    assert words in failed.message
    assert failed.retryable is retryable
    assert type(binding.errors[0]) is type(exc)


def test_a_function_may_raise_what_means_something_to_coroutines(on):
    assert failure(on.outcome_of(raises(StopIteration("odd"))[0])).error_type == "StopIteration"
    assert failure(on.outcome_of(raises(StopIteration("odd"))[1])).error_type == "RuntimeError"


def test_only_the_named_errors_are_worth_a_retry(on):
    wanted = (OSError, SystemExit)
    assert failure(on.outcome_of(raises(FileNotFoundError())[0], retry_on=wanted)).retryable
    assert failure(on.outcome_of(raises(SystemExit())[1], retry_on=wanted)).retryable
    assert not failure(on.outcome_of(raises(ValueError())[2], retry_on=wanted)).retryable
    assert not failure(on.outcome_of(raises(ValueError())[0], retry_on=())).retryable


def test_a_parameter_that_nothing_fills_fails_as_a_type_error_and_for_good(on):
    binding = binding_of(lambda rows: rows)
    on.runner.bind(RUN, binding)
    failed = failure(on.outcome(attempt_of(dependencies={"rows": Dependency("Skipped", None, "", "", 0)})))
    assert (failed.error_type, failed.retryable) == ("TypeError", False)
    assert "task 'task-0' needs the parameter 'rows': the task 'rows' ended as Skipped" in failed.message
    assert isinstance(binding.errors[0], TypeError)


def test_nothing_is_run_of_a_run_that_nobody_knows_any_more(on):
    ran = []
    on.runner.bind(RUN, binding_of(lambda: ran.append(1)))
    on.runner.unbind(RUN)
    on.runner.unbind(RUN)
    assert failure(on.outcome(attempt_of())).reason == "Terminated"
    assert ran == []


# -------------------------------------------------------------------------------------------------------- what it gets


def test_each_function_gets_a_copy_of_its_own_of_a_result(on):
    kept = []

    def function(rows):
        kept.append(rows)
        rows.append(1)
        return rows

    async def coroutine(rows):
        return function(rows)

    on.runner.bind(RUN, binding_of(function, coroutine))
    rows = {"rows": completed([])}
    for position in (0, 1, 0, 1):
        assert returned(on.outcome(attempt_of(position, dependencies=rows))) == [1]
    assert len({id(each) for each in kept}) == 4


def test_bodies_see_the_context_of_the_caller_and_change_only_a_copy(on):
    def function():
        seen = variable.get()
        variable.set("changed")
        return seen

    async def coroutine():
        seen = function()
        await asyncio.sleep(0)
        return [seen, variable.get(), await asyncio.create_task(give(variable.get()))]

    def handing():
        variable.set("by the function")
        return coroutine()

    context = contextvars.copy_context()
    context.run(variable.set, "of the caller")
    on.runner.bind(RUN, binding_of(function, coroutine, handing, context=context))
    for _ in range(2):
        assert returned(on.outcome(attempt_of(0))) == "of the caller"
        assert returned(on.outcome(attempt_of(1))) == ["of the caller", "changed", "changed"]
        assert returned(on.outcome(attempt_of(2))) == ["by the function", "changed", "changed"]
    assert context[variable] == "of the caller"
    assert variable.get() == "default"


def test_a_body_knows_which_task_it_is(on):
    def function():
        task = current_task()
        return [task.name, task.attempt, task.cancelled, bool(task.idempotency_key)]

    async def coroutine():
        await asyncio.sleep(0)
        return function()

    on.runner.bind(RUN, binding_of(function, coroutine, lambda: coroutine()))
    for position in range(3):
        assert returned(on.outcome(attempt_of(position, 5))) == [f"task-{position}", 5, False, True]
    with pytest.raises(LookupError):
        current_task()


def test_other_kinds_of_bodies_are_run_by_their_own_runners(on):
    on.runner.bind(RUN, binding_of(lambda: 1))
    assert returned(on.outcome(attempt_of(kind="value", body={"value": [1, 2]}))) == [1, 2]


# ------------------------------------------------------------------------------------------------ objects in memory


def test_without_a_store_what_json_can_not_carry_is_passed_on_as_it_is(on):
    thing = object()
    objects = {}
    on.runner.bind(RUN, binding_of(lambda: thing, lambda first: first is thing, objects=objects))
    outcome = on.outcome(attempt_of(0))
    json.loads(outcome.result)
    assert objects == {0: thing}
    first = {"first": Dependency("Completed", outcome.result, "", "", 1)}
    assert returned(on.outcome(attempt_of(1, dependencies=first))) is True


def test_without_a_store_a_result_that_is_json_is_still_a_copy_and_replaces_an_object(on):
    results = [{1, 2}, [1, 2]]
    objects = {}
    on.runner.bind(RUN, binding_of(lambda: results.pop(0), objects=objects))
    on.outcome(attempt_of())
    assert objects == {0: {1, 2}}
    assert returned(on.outcome(attempt_of(number=2))) == [1, 2]
    assert objects == {}


def test_a_result_that_looks_like_the_sign_for_an_object_is_itself(on):
    objects = {}
    on.runner.bind(RUN, binding_of(lambda: object(), lambda: looks_alike, lambda second: second, objects=objects))
    looks_alike = json.loads(on.outcome(attempt_of(0)).result)
    second = {"second": Dependency("Completed", on.outcome(attempt_of(1)).result, "", "", 1)}
    on.outcome(attempt_of(2, dependencies=second))
    assert objects[2] == looks_alike


def test_an_object_that_comes_too_late_does_not_replace_a_newer_one(on):
    gate, begun, objects = threading.Event(), threading.Event(), {}

    def function():
        begun.set()
        gate.wait(PATIENCE_SECONDS)
        return {"late"}

    on.runner.bind(RUN, binding_of(function, objects=objects))
    attempt = on.start(attempt_of())
    assert begun.wait(PATIENCE_SECONDS)
    on.executor.abandon(attempt.id)
    objects[0] = {"newer"}
    gate.set()
    on.endings.next()
    assert objects == {0: {"newer"}}


# ------------------------------------------------------------------------------------------------------- being given up


@pytest.mark.parametrize("handed", [False, True], ids=["coroutine", "lambda"])
def test_a_coroutine_is_cancelled_when_nobody_waits_for_it(on, handed):
    begun, cleaned = threading.Event(), threading.Event()

    async def coroutine():
        begun.set()
        try:
            await asyncio.sleep(PATIENCE_SECONDS)
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    binding = binding_of((lambda: coroutine()) if handed else coroutine)
    on.runner.bind(RUN, binding)
    attempt = on.start(attempt_of())
    assert begun.wait(PATIENCE_SECONDS)
    on.executor.abandon(attempt.id)
    assert failure(on.endings.next().outcome).reason == "Terminated"
    assert cleaned.is_set()
    assert binding.errors == {}, "what comes too late must not be shown as the newest error"


def test_a_coroutine_is_cancelled_when_the_executor_closes(on):
    begun = threading.Event()

    async def coroutine():
        begun.set()
        await asyncio.sleep(PATIENCE_SECONDS)

    on.runner.bind(RUN, binding_of(coroutine))
    on.start(attempt_of())
    assert begun.wait(PATIENCE_SECONDS)
    on.executor.close(PATIENCE_SECONDS)
    assert failure(on.endings.next().outcome).reason == "Terminated"


@pytest.mark.parametrize("second_is_async", [False, True])
@pytest.mark.parametrize("first", ["function", "coroutine", "lambda"])
def test_a_given_up_body_never_runs_beside_a_new_attempt_of_the_same_task(on, first, second_is_async):
    running, begun, gate = [], threading.Event(), threading.Event()

    def function():
        running.append("first")
        begun.set()
        gate.wait(PATIENCE_SECONDS)
        running.append("first ends")

    async def coroutine():
        running.append("first")
        begun.set()
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)
        running.append("first ends")

    def again():
        running.append("second")

    async def again_async():
        running.append("second")

    bodies = {"function": function, "coroutine": coroutine, "lambda": lambda: coroutine()}
    identity = ("store", "workflow")
    on.runner.bind(RUN, binding_of(bodies[first], identity=identity))
    on.runner.bind(RUN + 1, binding_of(again_async if second_is_async else again, lambda: 2, identity=identity))
    attempt = on.start(attempt_of())
    assert begun.wait(PATIENCE_SECONDS)
    on.executor.abandon(attempt.id)
    on.start(attempt_of(run=RUN + 1))
    other = ThreadedExecutor(on.runner.run, 1, WallClock())  # another executor sees to it too
    other.start(attempt_of(1, run=RUN + 1), on.endings)
    assert on.endings.next().attempt == (RUN + 1, 1, 1), "another task does not wait"
    assert running == ["first"]
    gate.set()
    assert {told.attempt.run for told in (on.endings.next(), on.endings.next())} == {RUN, RUN + 1}
    assert running == ["first", "first ends", "second"]
    other.close(PATIENCE_SECONDS)


@pytest.mark.parametrize("waits_async", [False, True])
def test_an_attempt_that_waits_for_a_given_up_body_can_be_given_up_itself(on, waits_async):
    begun, gate, ran = threading.Event(), threading.Event(), []

    def function():
        begun.set()
        gate.wait(PATIENCE_SECONDS)

    async def again_async():
        ran.append(2)

    binding = binding_of(again_async if waits_async else (lambda: ran.append(1)), identity=1)
    on.runner.bind(RUN, binding_of(function, identity=1))
    on.runner.bind(RUN + 1, binding)
    on.start(attempt_of())
    assert begun.wait(PATIENCE_SECONDS)
    second = on.start(attempt_of(run=RUN + 1))
    threading.Event().wait(0.02)  # so that it comes to wait; the outcome is the same where it does not
    on.executor.abandon(second.id)
    assert failure(on.endings.next().outcome).reason == "Terminated"
    gate.set()
    assert on.endings.next().attempt.run == RUN
    assert ran == []
    third = attempt_of(number=2, run=RUN + 1)
    assert isinstance(on.outcome(third), Completed)


def test_tasks_of_other_workflows_do_not_wait_for_each_other(on):
    meeting = threading.Barrier(2)
    on.runner.bind(RUN, binding_of(lambda: meeting.wait(PATIENCE_SECONDS), identity=1))
    on.runner.bind(RUN + 1, binding_of(lambda: meeting.wait(PATIENCE_SECONDS), identity=2))
    on.start(attempt_of())
    on.start(attempt_of(run=RUN + 1))
    assert {type(on.endings.next().outcome), type(on.endings.next().outcome)} == {Completed}


# ------------------------------------------------------------------------------------------------------- by itself


def test_an_interrupt_on_the_main_thread_comes_out_of_the_runner_and_leaves_the_task_free():
    runner = FunctionRunner()
    binding = binding_of(raises(KeyboardInterrupt())[0], identity=1)
    runner.bind(RUN, binding)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            runner.run(attempt_of())
        with pytest.raises(KeyboardInterrupt):
            runner.begin(attempt_of())
    assert binding.errors == {}


def test_a_coroutine_is_awaited_beside_a_loop_that_runs_in_this_thread_already():
    runner = FunctionRunner()

    async def coroutine():
        await asyncio.sleep(0)
        return [variable.get(), current_task().name]

    async def cell():
        return runner.run(attempt_of())

    context = contextvars.copy_context()
    context.run(variable.set, "of the caller")
    runner.bind(RUN, binding_of(coroutine, context=context))
    assert returned(asyncio.run(cell())) == ["of the caller", "task-0"]


def test_what_runs_functions_loads_no_asyncio_and_nothing_heavy():
    code = (
        "import sys, flowweaver.library.functions, flowweaver.executors\n"
        "heavy = {'asyncio', 'pydantic', 'cel_expr_python', 'apsw', 'httpx', 'yaml'}\n"
        "sys.stderr.write(' '.join(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""
