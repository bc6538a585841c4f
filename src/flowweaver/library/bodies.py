"""No body beside itself: one attempt of a task at a time in this process, whoever executes it.

A body that was given up goes on until it returns, in a thread that nobody can end. An attempt of the same task waits
for it here, also where the two belong to different executions or executors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

_lock = threading.Lock()
_waiting: dict[Hashable, list[Callable[[], None]]] = {}  # by the task whose body is running: who to wake after it


def enter(task: Hashable, woken: Callable[[], None] | None = None) -> bool:
    """Whether the body of `task` may run now; then `leave` must follow. Else `woken` is called, from any thread, when
    it is worth asking again.
    """
    with _lock:
        waiting = _waiting.get(task)
        if waiting is None:
            _waiting[task] = []
            return True
        if woken is not None:
            waiting.append(woken)
        return False


def leave(task: Hashable) -> None:
    """That body has returned."""
    with _lock:
        waiting = _waiting.pop(task)
    for woken in waiting:
        woken()
