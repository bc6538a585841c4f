"""A Python body: finding the function, passing it what it asks for, calling it.

The same code runs in a worker's thread and in a process of its own, so it imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import threading
import types
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from flowweaver.core.phases import Reason
from flowweaver.policy import Policy
from flowweaver.ports import Cancellation
from flowweaver.runners.failures import Refused
from flowweaver.runners.parameters import MissingParameter, arguments
from flowweaver.runners.results import MAX_RESULT_BYTES, encode_result

COMPLETED = "Completed"
MAIN = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything that a Python body needs: no expression is left in it."""

    function: str = ""  # "pkg.mod:name"; empty: `source`
    source: str = ""  # code that defines `main`
    arguments: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, bytes] = field(default_factory=dict)  # of the dependencies that completed, by task name
    missing: Mapping[str, str] = field(default_factory=dict)  # the phases of those that did not
    policy: Policy
    unique: str = ""  # makes the name of the module that `source` becomes
    task: str = ""  # the name of a task that was written in Python: its parameters are filled as they are in a thread


def call(wanted: Call, cancellation: Cancellation) -> bytes:
    """Call the function here and give its encoded result. Raises `Refused`, and whatever the body raises."""
    with _callable(wanted) as function:
        positional, keywords = _arguments(function, wanted)
        result = function(*positional, **keywords)
        if inspect.isawaitable(result):
            result = awaited(result, cancellation)
        return encode_result(result, limit=result_limit(wanted.policy))


def result_limit(policy: Policy) -> int:
    """How many bytes the result of a Python function may have as JSON."""
    return MAX_RESULT_BYTES if policy.max_result_bytes is None else policy.max_result_bytes


# ------------------------------------------------------------------------------------------------------ finding it


def check_function(function: str, policy: Policy) -> tuple[str, str]:
    """The module and the name in it that `function` says, where the policy allows the module; raises `Refused`."""
    module, _, name = function.partition(":")
    if not module or not name.isidentifier():
        raise Refused(Reason.TASK_FAILED, f'python.function is "{function}": write it as package.module:name')
    if not policy.allows_function(module):
        raise _not_allowed(function, module, policy)
    return module, name


def _not_allowed(function: str, module: str, policy: Policy) -> Refused:
    allowed = ", ".join(policy.functions) or "none"
    return Refused(
        Reason.BODY_NOT_ALLOWED,
        f'python.function "{function}" is code of the module "{module}", which is not allowed here '
        f"(allowed: {allowed}): an administrator can allow it with --functions {module}",
    )


@contextmanager
def _callable(wanted: Call) -> Iterator[Callable[..., Any]]:
    if wanted.function:
        yield _imported(wanted.function, wanted.policy)
        return
    module = types.ModuleType(f"flowweaver_source_{wanted.unique}")
    sys.modules[module.__name__] = module  # dataclasses and pickle look a class's module up by name
    try:
        exec(compile(wanted.source, "<python.source>", "exec"), module.__dict__)  # noqa: S102 - that is the body
        function = getattr(module, MAIN, None)
        if not callable(function):
            raise Refused(Reason.TASK_FAILED, f"python.source defines no function {MAIN}: write def {MAIN}(…): …")
        yield function
    finally:
        del sys.modules[module.__name__]


def _imported(function: str, policy: Policy) -> Callable[..., Any]:
    """The function itself. It must be defined in an allowed module too: an allowed one may have imported `os`."""
    module_name, name = check_function(function, policy)
    module = _module(module_name, function)
    try:
        found = getattr(module, name)
    except AttributeError as exc:
        raise Refused(
            Reason.TASK_FAILED,
            f'python.function "{function}": the module has no "{name}": check the spelling',
            error_type="AttributeError",
        ) from exc
    if not callable(found):
        raise Refused(Reason.TASK_FAILED, f'python.function "{function}" is no function but a {type(found).__name__}')
    home = getattr(found, "__module__", None) or ""
    if not policy.allows_function(home):
        raise _not_allowed(function, home, policy)
    return found  # type: ignore[no-any-return]  # it is callable, as was just seen


def _module(name: str, function: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if not exc.name or not f"{name}.".startswith(f"{exc.name}."):
            raise  # something that the module imports is missing: that is the module's own error
        raise Refused(
            Reason.TASK_FAILED,
            f'python.function "{function}": there is no module "{exc.name}" here: '
            "check the spelling, and that it is installed where this runs",
            error_type="ModuleNotFoundError",
        ) from exc


# --------------------------------------------------------------------------------------------------- its parameters


def _arguments(function: Callable[..., Any], wanted: Call) -> tuple[list[Any], dict[str, Any]]:
    if not wanted.task:
        return [], _keywords(function, wanted)
    try:
        return arguments(function, wanted.task, wanted.results, wanted.missing, json.loads)
    except MissingParameter as exc:
        raise Refused(Reason.TASK_FAILED, str(exc), error_type="TypeError") from None


def _keywords(function: Callable[..., Any], wanted: Call) -> dict[str, Any]:
    """What to call it with: `args` as they are, and of the dependencies' results those that it has parameters for."""
    results = {name.replace("-", "_"): result for name, result in wanted.results.items()}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function in C that tells nobody
        return dict(wanted.arguments)
    named = {each.name: each for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}}
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        passed = set(results)
    else:
        passed = set(results) & set(named)
        _refuse_unknown(wanted, set(named))
    keywords = {name: json.loads(results[name]) for name in results if name in passed and name not in wanted.arguments}
    keywords.update(wanted.arguments)
    for name, parameter in named.items():
        if name not in keywords and parameter.default is parameter.empty:
            raise _missing(name, wanted)
    return keywords


def _refuse_unknown(wanted: Call, names: set[str]) -> None:
    unknown = [name for name in wanted.arguments if name not in names]
    if unknown:
        takes = ", ".join(sorted(names)) or "none"
        raise Refused(
            Reason.TASK_FAILED,
            f"python.args.{unknown[0]}: {_title(wanted)} has no such parameter (it has: {takes}): remove it, or "
            "give the function that parameter",
            error_type="TypeError",
        )


def _missing(name: str, wanted: Call) -> Refused:
    phases = {task.replace("-", "_"): (task, phase) for task, phase in wanted.missing.items()}
    if name in phases:
        task, phase = phases[name]
        fix = f'the task "{task}" ended as {phase} and has no result: give the parameter a default'
    else:
        fix = f"set python.args.{name}, depend on a task of that name, or give the parameter a default"
    return Refused(Reason.TASK_FAILED, f'{_title(wanted)} needs the parameter "{name}": {fix}', error_type="TypeError")


def _title(wanted: Call) -> str:
    return wanted.function or "python.source's main"


# -------------------------------------------------------------------------------------------------------- coroutines


def awaited(awaitable: Any, cancellation: Cancellation) -> Any:
    """What the awaitable gives, in an event loop that lives as long; cancelling the attempt cancels it.

    The loop has a thread of its own where this one is running another loop, as in a notebook.
    """

    async def body() -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed: it is over
                loop.call_soon_threadsafe(task.cancel)

        cancellation.on_request(cancel)
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(body())
    answer: Future[Any] = Future()
    threading.Thread(target=_run, args=(copy_context(), body(), answer), name="flowweaver-loop", daemon=True).start()
    return answer.result()


def _run(context: Context, coroutine: Coroutine[Any, Any, Any], answer: Future[Any]) -> None:
    try:
        answer.set_result(context.run(asyncio.run, coroutine))
    except BaseException as exc:  # noqa: BLE001 - it is raised where the answer is waited for
        answer.set_exception(exc)
