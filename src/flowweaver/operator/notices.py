"""What follows outside the engine from each of its commits: statuses, Events, log lines.

Called on the engine's own thread: nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowweaver.core.phases import RunPhase
from flowweaver.operator.actions import EventType, Post
from flowweaver.operator.names import CANCELLED, COMPLETED, FAILED
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.recorder import Recorder
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.run_lines import ended, tell_of_run, tell_of_task
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.ports import Notice, RunNotice

_EVENTS = {
    RunPhase.COMPLETED: (EventType.NORMAL, COMPLETED),
    RunPhase.FAILED: (EventType.WARNING, FAILED),
    RunPhase.CANCELLED: (EventType.NORMAL, CANCELLED),
}


class Listener:
    """Passes the engine's notices on."""

    def __init__(self, *, runs: RunIndex, writer: StatusWriter, queue: WorkQueue, recorder: Recorder) -> None:
        self._runs = runs
        self._writer = writer
        self._queue = queue
        self._recorder = recorder

    def __call__(self, notices: Sequence[Notice]) -> None:
        """Take what one commit has changed."""
        touched: dict[str, bool] = {}
        for notice in notices:
            uid = notice.name.run_id
            touched.setdefault(uid, False)
            if isinstance(notice, RunNotice):
                touched[uid] = touched[uid] or notice.head.phase.finished
                self._run(notice)
            elif not notice.task.startswith("("):  # an internal one
                tell_of_task(notice)
        for uid, finished in touched.items():
            self._writer.touch(uid, urgent=finished)

    def _run(self, notice: RunNotice) -> None:
        before, head, workflow = notice.before, notice.head, notice.name.workflow
        self._runs.record(notice.run, notice.name, head)
        tell_of_run(notice)
        if before.phase is head.phase or not head.phase.finished:
            return
        self._queue.add(workflow)
        namespace, _, name = workflow.partition("/")
        kind, reason = _EVENTS[head.phase]
        note = head.message or f"the workflow has {ended(head.phase)}"
        self._recorder.post(namespace, name, notice.name.run_id, Post(kind, reason, note))
