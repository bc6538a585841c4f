"""Which other stores are at work, told from what they write: a status that moves on was written by a store that lives.

Nothing else tells a lost volume from a second installation: both leave Workflows that say that another store has them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from flowweaver.operator.objects import WorkflowObject, is_newer
from flowweaver.operator.world import CLAIM_GRACE_SECONDS, Owner


class LiveStores:
    """What has been seen of other stores since this process began. Safe from any thread."""

    def __init__(self, own: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._clock = clock
        self._lock = threading.Lock()
        self._first_seen: dict[str, float] = {}
        self._alive: set[str] = set()
        self._replaced = ""

    def replaced(self, store: str) -> None:
        """That store was this pod's before its volume was: what still arrives of it was sent before its end."""
        with self._lock:
            self._replaced = store
            self._alive.discard(store)

    def saw(self, before: WorkflowObject | None, now: WorkflowObject) -> bool:
        """An object was seen, after `before`; gives whether a store has just shown for the first time that it lives."""
        owner = owner_of(now)
        if not owner or owner == self._own:
            return False
        with self._lock:
            self._first_seen.setdefault(owner, self._clock())
            if owner in {*self._alive, self._replaced} or before is None or before.uid != now.uid:
                return False
            if is_newer(before, now):  # an old event that comes after an answer to a write of ours
                return False
            older, newer = before.reported.store, now.reported.store
            if newer is None or newer.id != owner:
                return False
            moved = (
                older is None or older.id != newer.id or (older.epoch, older.sequence) < (newer.epoch, newer.sequence)
            )
            if moved:
                self._alive.add(owner)
            return moved

    def owner(self, workflow: WorkflowObject) -> tuple[Owner, float]:
        """Whose Workflow it is, and for how many seconds that stays unsure."""
        owner = owner_of(workflow)
        if not owner or owner == self._own:
            return Owner.OURS, 0.0
        with self._lock:
            if owner in self._alive:
                return Owner.ALIVE, 0.0
            now = self._clock()
            left = self._first_seen.setdefault(owner, now) + CLAIM_GRACE_SECONDS - now
        return (Owner.UNSURE, left) if left > 0 else (Owner.DEAD, 0.0)


def owner_of(workflow: WorkflowObject) -> str:
    """The store that has accepted it; empty: none has."""
    if workflow.claimed_by:
        return workflow.claimed_by
    return workflow.reported.store.id if workflow.reported.store is not None else ""
