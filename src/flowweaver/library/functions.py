"""Runs the function of a task: its parameters, its context, what it returns or raises.

The executors call this for every attempt, so that a function which takes and returns nothing costs a few microseconds.
A result is encoded here, once; each function that takes it gets a copy decoded for it alone.
"""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from types import FunctionType
from typing import Any

from flowweaver.core.events import Completed, Failed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.core.records import replace
from flowweaver.library import bodies
from flowweaver.policy import Policy
from flowweaver.ports import Attempt
from flowweaver.runners.current import set_current_task
from flowweaver.runners.failures import Refused, failed, failure_of, is_interrupt
from flowweaver.runners.parameters import MissingParameter, arguments, takes_nothing
from flowweaver.runners.results import MAX_RESULT_BYTES, decode_result, encode_result

CALL = "call"
"""The kind of the bodies that are run here."""

_OBJECT = b'{"flowweaver.io/object":'  # how a result begins that is an object in memory; its position follows
_COMPLETED = "Completed"
_EXACT = frozenset({type(None), bool, int, float})
_MOST_VALUES = 1_000_000  # more are passed as they are; also where a list contains itself
_PLAIN = frozenset({type(None), bool, int, float, str, list, dict, tuple})  # certainly no awaitable

_UNWANTED = failed(Reason.TERMINATED, "Cancelled", "stopped before its body was started")
_EVERY_ERROR = (Exception,)

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Binding:
    """What the attempts of one execution share. Positions are those in the plan."""

    functions: Sequence[Callable[..., Any]]
    retry_on: Sequence[tuple[type[BaseException], ...] | None]  # errors that are worth a retry; None: every Exception
    context: contextvars.Context  # each attempt runs in a copy of it
    objects: dict[int, Any] | None = None  # where nothing is stored: results that JSON can not carry, by position
    errors: dict[int, BaseException] = field(default_factory=dict)  # the newest one of each task, by position
    max_result_bytes: int = MAX_RESULT_BYTES
    identity: Hashable = None  # what makes tasks of the same name the same one in this process; None: nothing does


class FunctionRunner:
    """Runs attempts of the kind "call" by the binding of their run, and others with the runner of their kind.

    Safe from any thread. `run` is for executors that have threads alone; an `EventLoopExecutor` takes `begin`,
    `run_async` and `is_async`. Whatever a body raises is its outcome, but for Ctrl-C: a `KeyboardInterrupt` on the main
    thread comes out of `run`.
    """

    def __init__(self) -> None:
        self._bindings: dict[int, Binding] = {}
        self._others: dict[int, Callable[[Attempt], Outcome]] = {}  # by how large a result may be

    def bind(self, run: int, binding: Binding) -> None:
        """Run the attempts of that run by `binding`. Before the first one starts."""
        self._bindings[run] = binding

    def unbind(self, run: int) -> None:
        """The run is over: what still starts of it is not run. Idempotent."""
        self._bindings.pop(run, None)

    def is_async(self, attempt: Attempt) -> bool:
        """Whether its function is a coroutine function, which `run_async` should run."""
        binding = self._bindings.get(attempt.id.run)
        if binding is None or attempt.task.kind != CALL:
            return False
        return _is_coroutine_function(binding.functions[attempt.id.task])

    def run(self, attempt: Attempt) -> Outcome:
        """Run it in this thread, and what it gives to await in an event loop that lives as long."""
        body = self._body(attempt)
        return body.run() if isinstance(body, _Body) else body

    def begin(self, attempt: Attempt) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Run it in this thread. Where it gives something to await the rest is a coroutine, which must be awaited."""
        body = self._body(attempt)
        return body.begin() if isinstance(body, _Body) else body

    async def run_async(self, attempt: Attempt) -> Outcome:
        """Run it in this event loop."""
        body = self._body(attempt)
        return await body.run_async() if isinstance(body, _Body) else body

    def _body(self, attempt: Attempt) -> _Body | Outcome:
        binding = self._bindings.get(attempt.id.run)
        if binding is None:
            return _UNWANTED
        body = _Body(attempt, binding)
        return body if attempt.task.kind == CALL else body.elsewhere(self._other(binding.max_result_bytes))

    def _other(self, max_result_bytes: int) -> Callable[[Attempt], Outcome]:
        """What runs attempts of other kinds than "call"."""
        run = self._others.get(max_result_bytes)
        if run is None:
            from flowweaver.runners import registry, run_attempt

            policy = replace(Policy.permissive(), whole_environment=True, max_result_bytes=max_result_bytes)
            run = self._others[max_result_bytes] = run_attempt(registry(policy))
        return run


class _Body:
    """One attempt at a function."""

    __slots__ = ("_attempt", "_binding", "_key", "_position")

    def __init__(self, attempt: Attempt, binding: Binding) -> None:
        self._attempt = attempt
        self._binding = binding
        self._position = attempt.id.task
        self._key = None if binding.identity is None else (binding.identity, attempt.task.name)

    # --------------------------------------------------------------------------------------------- three ways to run it

    def run(self) -> Outcome:
        key = self._key
        if key is not None and not (bodies.enter(key) or self._comes_in()):
            return _UNWANTED
        try:
            return self._completed(self._binding.context.copy().run(self._call_and_await))
        except BaseException as exc:  # whatever a body raises is its attempt's failure
            if is_interrupt(exc):
                raise
            return self._failed(exc)
        finally:
            if key is not None:
                bodies.leave(key)

    def begin(self) -> Outcome | Coroutine[Any, Any, Outcome]:
        if not self._enter():
            return _UNWANTED
        goes_on = False
        context = self._binding.context.copy()
        try:
            value = context.run(self._call)
            goes_on = _is_awaitable(value)
            return self._await(value, context) if goes_on else self._completed(value)
        except BaseException as exc:
            if is_interrupt(exc):
                raise
            return self._failed(exc)
        finally:
            if not goes_on:
                self._leave()

    async def run_async(self) -> Outcome:
        if not await self._enter_async():
            return _UNWANTED
        return await self._await(None, self._binding.context)

    def elsewhere(self, run: Callable[[Attempt], Outcome]) -> Outcome:
        """The body is no function of this process: `run` knows what to do."""
        if not self._enter():
            return _UNWANTED
        try:
            return run(self._with_texts())
        except Refused as exc:
            return failure_of(exc)
        finally:
            self._leave()

    async def _await(self, awaitable: Awaitable[Any] | None, context: contextvars.Context) -> Outcome:
        """The rest of the body in this event loop, all of it where there is nothing to await yet."""
        try:
            for variable, value in context.items():  # an asyncio task has a context of its own
                variable.set(value)
            return self._completed(await (self._call() if awaitable is None else awaitable))
        except BaseException as exc:  # noqa: BLE001 - whatever a body raises is its attempt's failure
            return self._failed(exc)
        finally:
            self._leave()

    # -------------------------------------------------------------------------------------------------------- its steps

    def _call(self) -> Any:
        attempt = self._attempt
        function = self._binding.functions[self._position]
        set_current_task(attempt)
        if not attempt.dependencies and takes_nothing(function):
            return function()
        results: dict[str, bytes] = {}
        missing: dict[str, str] = {}
        for name, known in attempt.dependencies.items():
            if known.result is not None and known.phase == _COMPLETED:
                results[name] = known.result
            else:
                missing[name] = known.phase
        read = decode_result if self._binding.objects is None else self._read
        positional, keywords = arguments(function, attempt.task.name, results, missing, read)
        return function(*positional, **keywords)

    def _call_and_await(self) -> Any:
        value = self._call()
        if type(value) in _PLAIN or not _is_awaitable(value):
            return value
        from flowweaver.runners.functions import awaited

        return awaited(value, self._attempt.cancellation)

    def _read(self, result: bytes) -> Any:
        objects = self._binding.objects
        if objects is not None and result.startswith(_OBJECT):
            return objects[int(result[len(_OBJECT) : -1])]
        return decode_result(result)

    def _with_texts(self) -> Attempt:
        """The attempt, given JSON for what is an object in memory; raises `Refused` where that can not be."""
        attempt, objects = self._attempt, self._binding.objects
        if not objects:
            return attempt
        dependencies = dict(attempt.dependencies)
        for name, known in attempt.dependencies.items():
            if known.result is not None and known.result.startswith(_OBJECT):
                try:
                    text = encode_result(self._read(known.result), name="it", limit=self._binding.max_result_bytes)
                except Refused as exc:
                    what = f"task '{attempt.task.name}' does not run in this process and can not be given the result of"
                    raise Refused(exc.reason, f"{what} '{name}': {exc}") from None
                dependencies[name] = replace(known, result=text)
        return replace(attempt, dependencies=dependencies)

    def _completed(self, value: Any) -> Completed:
        objects = self._binding.objects
        if objects is None:
            return Completed(encode_result(value, limit=self._binding.max_result_bytes))
        encoded = self._copied(value)
        if self._attempt.cancellation.requested:
            pass  # nobody waits for it, and it must not take the place of a newer one
        elif encoded is None:
            objects[self._position] = value
        else:
            objects.pop(self._position, None)
        return Completed(object_marker(self._position) if encoded is None else encoded)

    def _copied(self, value: Any) -> bytes | None:
        """The text that comes back as exactly that value; None where there is none, and the value itself is passed."""
        if not is_exactly_json(value):
            return None
        try:
            encoded = encode_result(value, limit=self._binding.max_result_bytes)
        except Refused:
            return None
        return None if encoded.startswith(_OBJECT) else encoded

    def _failed(self, exc: BaseException) -> Failed:
        if self._attempt.cancellation.requested:
            return failed(Reason.TERMINATED, "Cancelled", "stopped on request")
        if log.isEnabledFor(logging.DEBUG):  # where, and not what: a message may hold what is not for a log
            log.debug("a body raised %s:\n%s", type(exc).__name__, "".join(traceback.format_tb(exc.__traceback__)))
        self._binding.errors[self._position] = exc
        if isinstance(exc, MissingParameter):
            return failed(Reason.TASK_FAILED, "TypeError", str(exc), retryable=False)
        failure = failure_of(exc)
        wanted = self._binding.retry_on[self._position]
        if isinstance(exc, _EVERY_ERROR if wanted is None else wanted):
            return failure
        return replace(failure, retryable=False)

    # -------------------------------------------------------------------------------------------- no body beside itself

    def _enter(self) -> bool:
        """Wait for this task's place; False where the attempt is cancelled meanwhile."""
        return self._key is None or bodies.enter(self._key) or self._comes_in()

    def _comes_in(self) -> bool:
        """The same where the place is taken."""
        assert self._key is not None
        woken, cancellation = threading.Event(), self._attempt.cancellation
        cancellation.on_request(woken.set)
        while not cancellation.requested:
            if bodies.enter(self._key, woken.set):
                return True
            woken.wait()
            woken.clear()
        return False

    async def _enter_async(self) -> bool:
        if self._key is None or bodies.enter(self._key):
            return True
        import asyncio

        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(woken.set)

        try:
            while not bodies.enter(self._key, wake):
                await woken.wait()
                woken.clear()
        except asyncio.CancelledError:
            return False
        return True

    def _leave(self) -> None:
        if self._key is not None:
            bodies.leave(self._key)


def is_exactly_json(value: Any) -> bool:
    """Whether JSON gives back the very same value: no tuple becomes a list, no subclass its base, no text another."""
    left = [value]
    for seen, each in enumerate(left):
        kind = type(each)
        if seen > _MOST_VALUES:
            return False
        if kind is dict:
            left += each
            left += each.values()
            if not all(type(key) is str for key in each):
                return False
        elif kind is list:
            left += each
        elif kind is str:
            if not (each.isascii() or _is_text(each)):
                return False
        elif (kind is float and not isfinite(each)) or kind not in _EXACT:
            return False
    return True


def _is_text(text: str) -> bool:
    """Whether there is no lone surrogate in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def object_marker(position: int) -> bytes:
    """The stored result of a task whose real one is in `Binding.objects`, at `position`."""
    return b"%s%d}" % (_OBJECT, position)


def _is_awaitable(value: Any) -> bool:
    return type(value) not in _PLAIN and inspect.isawaitable(value)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    if type(function) is FunctionType:
        if function.__code__.co_flags & inspect.CO_COROUTINE:
            return True
        if not function.__dict__:
            return False
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - it is asked what it is, not whether it is
    )
