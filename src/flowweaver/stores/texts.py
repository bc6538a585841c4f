"""Makes text storable. UTF-8 has no lone surrogates, and one bad string must not make a whole commit fail.

Whoever takes text from outside replaces them first; this is the last line behind that.
"""

from __future__ import annotations

import re

from flowweaver.core.changes import AttemptClosed, Changes, RunChanged, TaskChanged
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.ports import RunName

_SURROGATE = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def storable_name(name: RunName) -> RunName:
    """The same for both texts of a run's name."""
    return RunName(storable(name.workflow), storable(name.run_id), name.generation)


def storable_head(head: RunHead) -> RunHead:
    """The same for a run's head."""
    if (head.reason + head.message + head.rerun_token).isascii():
        return head
    return replace(
        head, reason=storable(head.reason), message=storable(head.message), rerun_token=storable(head.rerun_token)
    )


def storable_task(state: TaskState) -> TaskState:
    """The same for a task's state."""
    return replace(
        state, reason=storable(state.reason), message=storable(state.message), error_type=storable(state.error_type)
    )


def storable_changes(changes: Changes) -> Changes:
    """Changes that say the same in storable text. For the store alone: what memory derives is left out."""
    return Changes(
        tasks=[TaskChanged(run, task, storable_task(state)) for run, task, state in changes.tasks],
        runs=[RunChanged(run, storable_head(head)) for run, head in changes.runs],
        started=changes.started,
        closed=[_storable_closed(closed) for closed in changes.closed],
        results=changes.results,
    )


def _storable_closed(closed: AttemptClosed) -> AttemptClosed:
    return closed._replace(
        reason=storable(closed.reason), message=storable(closed.message), error_type=storable(closed.error_type)
    )
