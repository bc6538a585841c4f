"""What happens next, decided by pure functions.

No clock, thread, I/O, randomness or logging in this room: time is a parameter and decisions are frozen values, so that
the same code runs in the engine, in a simulator and under a property test.

    plan      what a run does: tasks, their dependencies and policies
    graph     dependencies as numbers; cycles found and named
    phases    the words, and the table of all transitions
    state     where a run stands
    events    what has happened, or is asked for
    changes   what follows: rows to commit, then attempts to start
    decide    (state, events, now) -> changes: the order within a batch, and who gets a free worker
    drafts    what happens to one run
    steps     the steps that its tasks take then, and what follows from each
    backoff   how long a retry waits
    apply     changes -> state, once they are committed
    invariants what is true between any two turns
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Where programs of 0.2 looked for the library: it is in `flowweaver` itself, and this keeps working."""
    if name not in {"InMemoryStateBackend", "StateBackend", "Task", "TaskStatus", "Workflow", "task"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("flowweaver"), name)
