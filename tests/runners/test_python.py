"""`python` bodies: what is called, with what, and what is refused. Each sentence holds in a thread and in a process."""

import os
import threading

import pytest

from flowweaver.policy import Isolation, Policy, UnsafeBody
from flowweaver.runners import current_task, registry, run_attempt
from tests.runners.attempts import PATIENCE_SECONDS, attempt_of, completed, ended, failure_of, result_of, run


@pytest.fixture(params=["Thread", "Process"])
def isolation(request):
    return request.param


@pytest.fixture
def call(isolation):
    def call(source, args=None, **attempt):
        body = {"source": source, "args": args or {}, "isolation": isolation}
        return run(attempt_of("python", body, **attempt))

    return call


def test_the_returned_value_is_the_result(call):
    assert result_of(call("def main():\n    return {'a': [1, None, False, '']}")) == {"a": [1, None, False, ""]}


def test_a_function_of_a_module_is_imported_and_called(isolation):
    body = {"function": "json:dumps", "args": {"obj": "${params.x}", "indent": None}, "isolation": isolation}
    assert result_of(run(attempt_of("python", body, params={"x": [1, "a"]}))) == '[1, "a"]'


def test_results_of_dependencies_come_by_parameter_name_and_args_win(call):
    source = "def main(a_b, c, *, d='default', e=None):\n    return [a_b, c, d, e]"
    dependencies = {"a-b": completed({"n": 1}), "c": completed("from c"), "other": completed(0), "e": ended("Skipped")}
    assert result_of(call(source, {"c": "from args"}, dependencies=dependencies)) == [
        {"n": 1},
        "from args",
        "default",
        None,
    ]


def test_a_result_that_is_null_is_passed_like_any_other(call):
    assert result_of(call("def main(a='default'):\n    return a", dependencies={"a": completed(None)})) is None


def test_keywords_take_every_result_and_every_argument(call):
    dependencies = {"a-b": completed(1), "c": completed(2), "d": ended("Failed")}
    outcome = call("def main(**all):\n    return all", {"c": 3}, dependencies=dependencies)
    assert result_of(outcome) == {"a_b": 1, "c": 3}


@pytest.mark.parametrize(
    ("source", "args", "dependencies", "words"),
    [
        ("def main(rows):\n    pass", {}, {}, ['needs the parameter "rows"', "set python.args.rows", "default"]),
        ("def main(a_b):\n    pass", {}, {"a-b": ended("Skipped")}, ['the task "a-b" ended as Skipped', "default"]),
        ("def main(a):\n    pass", {"a": 1, "b": 2}, {}, ["python.args.b", "it has: a", "remove it"]),
        ("value = 1", {}, {}, ["defines no function main", "def main"]),
    ],
)
def test_a_call_that_can_not_be_made_says_what_to_change_and_is_not_retried(call, source, args, dependencies, words):
    failure = failure_of(call(source, args, dependencies=dependencies))
    assert [word for word in words if word not in failure.message] == []
    assert not failure.retryable


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("nosuch.module:main", 'there is no module "nosuch"'),
        ("json.nosuch:main", 'there is no module "json.nosuch"'),
        ("json:nosuch", 'the module has no "nosuch"'),
        ("json:__name__", "is no function but a str"),
        ("json", "write it as package.module:name"),
        ("json:decoder.JSONDecoder", "write it as package.module:name"),
    ],
)
def test_a_function_that_can_not_be_found_says_what_to_change_and_is_not_retried(isolation, function, words):
    failure = failure_of(run(attempt_of("python", {"function": function, "isolation": isolation})))
    assert words in failure.message
    assert not failure.retryable


def test_an_import_that_fails_inside_of_the_module_is_the_modules_own_error(isolation, tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import nosuch\ndef main():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    body = {"function": "half_installed:main", "isolation": isolation}
    failure = failure_of(run(attempt_of("python", body)))
    assert (failure.error_type, failure.message) == ("ModuleNotFoundError", "No module named 'nosuch'")
    assert failure.retryable


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("def main():\n    raise ValueError('wrong')", "ValueError", "wrong"),
        ("def main():\n    raise SystemExit(3)", "SystemExit", "sys.exit(3)"),
        ("import asyncio\ndef main():\n    raise asyncio.CancelledError", "CancelledError", "cancelled"),
        ("async def main():\n    raise LookupError('a\\ud800b')", "LookupError", "a\ufffdb"),
        ("def main(:", "SyntaxError", "python.source"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
    ],
)
def test_what_a_body_raises_is_its_failure(call, source, error_type, message):
    failure = failure_of(call(source))
    assert failure.error_type == error_type
    assert message in failure.message
    assert failure.reason == "TaskFailed"
    assert failure.retryable


def test_an_interrupt_that_a_body_raises_is_its_failure_in_a_thread(call):
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(call("def main():\n    raise KeyboardInterrupt")))
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert failure_of(outcomes[0]).error_type == "KeyboardInterrupt"


def test_an_interrupt_on_the_main_thread_is_the_programs_and_no_failure_of_the_body():
    body = {"source": "def main():\n    raise KeyboardInterrupt", "isolation": "Thread"}
    with pytest.raises(KeyboardInterrupt):
        run(attempt_of("python", body))


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("def main():\n    return {'a': {1}}", "ResultNotJson", "result.a is of the type set"),
        ("def main():\n    return 'x' * (1 << 20)", "ResultTooLarge", "at most 1048576 bytes"),
        ("def main():\n    return [0] * 10_000_000", "ResultTooLarge", "more than 524288 values"),
    ],
)
def test_a_result_that_can_not_be_kept_fails_the_task(call, source, reason, words):
    failure = failure_of(call(source))
    assert failure.reason == reason
    assert words in failure.message
    assert not failure.retryable


def test_the_biggest_result_passes(call):
    assert len(result_of(call("def main():\n    return 'x' * ((1 << 20) - 2)"))) == (1 << 20) - 2


def test_big_results_of_dependencies_pass(call):
    dependencies = {name: completed("x" * 1_000_000) for name in ("a", "b", "c")}
    assert result_of(call("def main(a, b, c):\n    return len(a + b + c)", dependencies=dependencies)) == 3_000_000


def test_coroutines_are_awaited(call):
    source = "import asyncio\nasync def main(x):\n    await asyncio.sleep(0)\n    return x + 1"
    assert result_of(call(source, {"x": 1})) == 2


def test_classes_of_a_source_find_their_module(call):
    source = (
        "from __future__ import annotations\nimport dataclasses, pickle\n"
        "@dataclasses.dataclass\nclass Row:\n    x: int = 1\n"
        "def main():\n    return dataclasses.asdict(pickle.loads(pickle.dumps(Row(5))))"
    )
    assert result_of(call(source)) == {"x": 5}


def test_a_body_can_ask_which_attempt_it_is(call):
    source = (
        "from flowweaver.runners import current_task\n"
        "async def main():\n"
        "    task = current_task()\n"
        "    return [task.name, task.attempt, task.idempotency_key, task.cancelled]"
    )
    assert result_of(call(source, number=4)) == ["t", 4, "u-1:t", False]


def test_current_task_outside_of_a_body_says_so():
    with pytest.raises(LookupError, match="for the body of a task"):
        current_task()


def test_each_consumer_gets_its_own_copy_of_a_result(call):
    dependencies = {"a": completed([1])}
    source = "def main(a):\n    a.append(2)\n    return a"
    assert [result_of(call(source, dependencies=dependencies)) for _ in range(2)] == [[1, 2], [1, 2]]


# ------------------------------------------------------------------------------------------------------ in a thread


def test_a_body_in_a_thread_runs_in_the_thread_that_calls_the_runner():
    body = {"source": "import threading\ndef main():\n    return threading.get_ident()", "isolation": "Thread"}
    assert result_of(run(attempt_of("python", body))) == threading.get_ident()


@pytest.mark.parametrize(
    "source",
    [
        "from flowweaver.runners import current_task\ndef main():\n    return current_task().wait(60)",
        "import asyncio\nasync def main():\n    await asyncio.sleep(60)",
    ],
)
def test_a_body_in_a_thread_learns_that_it_is_cancelled(source):
    attempt = attempt_of("python", {"source": source, "isolation": "Thread"})
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(run(attempt)))
    thread.start()
    attempt.cancellation.request()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    if "asyncio" in source:
        assert failure_of(outcomes[0]).error_type == "CancelledError"
    else:
        assert result_of(outcomes[0]) is True


def test_a_coroutine_that_is_cancelled_before_it_begins_ends():
    body = {"source": "import asyncio\nasync def main():\n    await asyncio.sleep(60)", "isolation": "Thread"}
    attempt = attempt_of("python", body)
    attempt.cancellation.request()
    assert failure_of(run(attempt)).error_type == "CancelledError"


# --------------------------------------------------------------------------------------------------- what is allowed


def under(policy, body):
    return run_attempt(registry(policy))(attempt_of("python", body))


@pytest.mark.parametrize(
    ("policy", "body", "words"),
    [
        (Policy(), {"function": "json:dumps"}, "--functions json"),
        (Policy(functions=("mymod",)), {"function": "os:system"}, "--functions os"),
        (Policy(functions=("mymod",)), {"function": "mymod.sub:main"}, "--functions mymod.sub"),
        (Policy(), {"source": "def main(): pass"}, "--unsafe-bodies python.source"),
        (Policy(functions=("json",)), {"function": "json:dumps", "isolation": "Thread"}, "--unsafe-bodies thread"),
        (
            Policy(unsafe_bodies=frozenset({UnsafeBody.THREAD})),
            {"source": "def main(): pass", "isolation": "Thread"},
            "--unsafe-bodies python.source",
        ),
        (
            Policy(functions=("json",), default_isolation=Isolation.THREAD),
            {"function": "json:dumps", "args": {"obj": 1}},
            "--unsafe-bodies thread",
        ),
    ],
)
def test_a_body_that_is_not_allowed_is_refused_and_the_setting_is_named(policy, body, words):
    failure = failure_of(under(policy, body))
    assert failure.reason == "BodyNotAllowed"
    assert words in failure.message
    assert not failure.retryable


@pytest.fixture
def mymod(tmp_path, monkeypatch):
    """A module that an administrator would allow; it imports what nobody should get through it."""
    name = f"mymod_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import os, subprocess, functools\n"
        "from os import system, getcwd\n"
        "from subprocess import run\n"
        "part = functools.partial(os.getcwd)\n"
        "def main():\n    return 'mine'\n"
        "@functools.lru_cache\ndef cached():\n    return 'cached'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("name", ["system", "getcwd", "run", "part", "os", "exec", "__builtins__"])
@pytest.mark.parametrize("isolation", ["Thread", "Process"])
def test_what_an_allowed_module_has_imported_is_not_allowed_with_it(mymod, name, isolation):
    policy = Policy(functions=("mymod_*",), unsafe_bodies=frozenset({UnsafeBody.THREAD}))
    failure = failure_of(under(policy, {"function": f"{mymod}:{name}", "isolation": isolation}))
    if name in {"os", "exec", "__builtins__"}:
        assert "has no" in failure.message or "is no function" in failure.message
    else:
        assert failure.reason == "BodyNotAllowed"
    assert not failure.retryable


@pytest.mark.parametrize(("name", "result"), [("main", "mine"), ("cached", "cached")])
def test_what_an_allowed_module_defines_runs_in_a_process_by_default(mymod, name, result):
    assert result_of(under(Policy(functions=("mymod_*",)), {"function": f"{mymod}:{name}"})) == result


@pytest.mark.parametrize("isolation", list(Isolation))
def test_the_default_isolation_is_the_policys(isolation):
    policy = Policy(unsafe_bodies=frozenset(UnsafeBody), default_isolation=isolation)
    where = result_of(under(policy, {"source": "import os\ndef main():\n    return os.getpid()"}))
    assert (where == os.getpid()) is (isolation is Isolation.THREAD)
