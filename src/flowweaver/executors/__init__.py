"""Where attempts run: beside the engine, never on its thread.

    threaded    one of several threads
    sequential  the thread of whoever waits for the run
    event_loop  an event loop, and threads for what is no coroutine

An executor knows nothing of what a body does (that is `runners`) nor of what follows from its end (that is `core`).
What a program executes its workflows with is `flowweaver.ThreadedExecutor` and its like, which stand on these.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Where programs of 0.2 looked for the executors: they are in `flowweaver` itself, and this keeps working."""
    if name not in {"BaseExecutor", "SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("flowweaver"), name)
