"""One task run by itself, here and now: to try it out, and for executors of one's own. No engine, nothing stored."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from flowweaver.core.backoff import delay_seconds
from flowweaver.library.statuses import TaskStatus
from flowweaver.runners.parameters import arguments

if TYPE_CHECKING:
    from flowweaver.library.tasks import Task

logger = logging.getLogger(__name__)


def execute(task: Task, results: Mapping[str, Any]) -> None:
    """Run it in this thread, with a timeout in another one, until it completes or has no retry left."""
    if task.is_async():
        raise RuntimeError(f"Task '{task.name}' is async: use execute_async")
    _begin(task)
    for attempt in range(1, task.retries + 2):
        error, body = _tried(task, results)
        if error is None:
            return
        if not _fails_again(task, attempt, error):
            return
        time.sleep(delay_seconds(task.retry.compiled(task.retries), attempt, 0.5))
        if body is not None:
            body.join()  # no attempt runs beside another one


async def execute_async(task: Task, results: Mapping[str, Any]) -> None:
    """Run it in the running event loop, a plain function in a thread."""
    import asyncio

    _begin(task)
    for attempt in range(1, task.retries + 2):
        body = asyncio.ensure_future(_body(task, results))
        done, _ = await asyncio.wait([body], timeout=task.timeout)
        if not done:
            body.cancel()
            error: BaseException = _timeout(task)
        else:
            error = body.exception() if not body.cancelled() else asyncio.CancelledError()  # type: ignore[assignment]
            if error is None:
                _complete(task, body.result())
                return
        if not _fails_again(task, attempt, error):
            return
        await asyncio.sleep(delay_seconds(task.retry.compiled(task.retries), attempt, 0.5))
        await asyncio.wait([body])


async def _body(task: Task, results: Mapping[str, Any]) -> Any:
    import asyncio
    import inspect

    if task.is_async():
        return await _call(task, results)
    # A thread can not be cancelled: whoever cancels this waits until it has returned.
    value = await asyncio.shield(asyncio.to_thread(_call, task, results))
    return await value if inspect.isawaitable(value) else value


def _call(task: Task, results: Mapping[str, Any]) -> Any:
    positional, keywords = arguments(task.fn, task.name, results, {}, lambda result: result)
    return task.fn(*positional, **keywords)


def _tried(task: Task, results: Mapping[str, Any]) -> tuple[BaseException | None, threading.Thread | None]:
    """One attempt: what went wrong, and the thread that is still at it."""
    if task.timeout is None:
        try:
            _complete(task, _called(task, results))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the task's failure
            return exc, None
        return None, None
    told: list[Callable[[], Any]] = []
    thread = threading.Thread(target=_tell, args=(task, results, told), name=f"task-{task.name}", daemon=True)
    thread.start()
    thread.join(task.timeout)
    if not told:
        return _timeout(task), thread
    try:
        _complete(task, told[0]())
    except Exception as exc:  # noqa: BLE001 - as above
        return exc, None
    return None, None


def _tell(task: Task, results: Mapping[str, Any], told: list[Callable[[], Any]]) -> None:
    try:
        value = _called(task, results)
    except BaseException as exc:  # noqa: BLE001 - it is raised where it is waited for
        told.append(partial(_raised, exc))
    else:
        told.append(lambda: value)


def _raised(error: BaseException) -> None:
    raise error


def _called(task: Task, results: Mapping[str, Any]) -> Any:
    import inspect

    value = _call(task, results)
    if inspect.isawaitable(value):
        import asyncio

        async def awaited() -> Any:
            return await value

        body: Coroutine[Any, Any, Any] = awaited()
        return asyncio.run(body)
    return value


def _begin(task: Task) -> None:
    task.status = TaskStatus.RUNNING
    task.started_at, task.completed_at = datetime.now(), None  # noqa: DTZ005 - local time without a zone, as ever
    task.error = None
    _changed(task)


def _complete(task: Task, result: Any) -> None:
    task.result, task.error = result, None
    _end(task, TaskStatus.COMPLETED)


def _fails_again(task: Task, attempt: int, error: BaseException) -> bool:
    """Note a failed attempt; whether there is another one."""
    worth = task.retry.timeouts if isinstance(error, _Timeout) else isinstance(error, task.retry.on)
    if attempt <= task.retries and worth:
        if task.on_retry is not None:
            task.on_retry(task.name, attempt)
        logger.warning("task '%s': attempt %d of %d failed", task.name, attempt, task.retries + 1)
        return True
    task.error = str(error)
    _end(task, TaskStatus.FAILED)
    return False


def _end(task: Task, status: TaskStatus) -> None:
    task.completed_at = datetime.now()  # noqa: DTZ005 - as above
    task.status = status
    _changed(task)


def _changed(task: Task) -> None:
    if task.on_status_change is not None:
        task.on_status_change(task.name, task.status)


class _Timeout(TimeoutError):
    """An attempt has outlived its task's timeout."""


def _timeout(task: Task) -> _Timeout:
    return _Timeout(f"an attempt ran longer than its timeout of {task.timeout:g} s")
