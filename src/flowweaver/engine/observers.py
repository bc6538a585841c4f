"""Who watches which run. What a watcher raises is logged, and costs nobody else anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from flowweaver.core.changes import ResultRecorded
from flowweaver.core.state import RunState
from flowweaver.ports import Notice, RunObserver, TaskNotice

logger = logging.getLogger(__name__)
T = TypeVar("T", ResultRecorded, Notice, TaskNotice)


class Observers:
    """The observers of the runs that have one, by the run's key."""

    def __init__(self) -> None:
        self.noticed: set[int] = set()  # runs whose observers want notices
        self._of: dict[int, RunObserver] = {}

    def add(self, run: int, observer: RunObserver) -> None:
        """Tell `observer` of that run from now on."""
        self._of[run] = observer
        if observer.wants_notices:
            self.noticed.add(run)

    def recorded(self, results: Sequence[ResultRecorded]) -> None:
        """These are durable."""
        if self._of:
            self._tell(results, "recorded")

    def changed(self, notices: Sequence[Notice]) -> None:
        """So are these."""
        if self.noticed:
            self._tell([notice for notice in notices if notice.run in self.noticed], "changed")

    def troubled(self, notices: Sequence[TaskNotice]) -> None:
        """Attempts of these tasks have failed."""
        self._tell(notices, "troubled")

    def watch(self, run: int) -> bool:
        """Whether anybody watches that run."""
        return run in self._of

    def ended(self, run: RunState) -> None:
        """The last word on a run that has finished or was let go."""
        self.noticed.discard(run.key)
        observer = self._of.pop(run.key, None)
        if observer is not None:
            _call(observer.ended, run)

    def broke(self, why: str) -> None:
        """The last word on all that are left."""
        observers, self._of = self._of, {}
        self.noticed.clear()
        for observer in observers.values():
            _call(observer.broke, why)

    def _tell(self, items: Iterable[T], what: Literal["recorded", "changed", "troubled"]) -> None:
        by_run: dict[int, list[T]] = {}
        for item in items:
            if (told := by_run.get(item.run)) is None:
                by_run[item.run] = [item]
            else:
                told.append(item)
        for run, told in by_run.items():
            if (observer := self._of.get(run)) is not None:
                _call(getattr(observer, what), told)


def _call(call: Callable[[Any], None], said: object) -> None:
    try:
        call(said)
    except Exception:
        logger.exception("who watches a run has failed")
