"""How long a turn waits for attempts that are about to end, so that one commit serves them all.

A commit costs a sync whatever is in it. Where attempts end faster than that, those that were started together come
back together, and waiting half a commit for the last of them saves a whole one. Where they do not, nobody waits.
"""

from __future__ import annotations

from flowweaver.core.changes import Changes
from flowweaver.core.state import World

MOST_SECONDS = 0.002
"""However slow a commit is, nobody waits longer."""

MOST_TURNS = 64
"""After waiting in vain, so many turns at most go by before it is tried again."""


class Gathering:
    """Used by the engine's thread between two turns."""

    def __init__(self, world: World) -> None:
        """`world` knows how many attempts are still out."""
        self._world = world
        self._seconds = 0.0  # what the next turn may wait; 0: it does not pay
        self._passing = 0  # turns that still go by without waiting
        self._in_vain = 1  # so many go by after the next time in vain

    def committed(self, changes: Changes, commit_seconds: float) -> None:
        """A turn is over: look whether attempts end faster than they are committed."""
        if not changes.tasks:
            return
        state = changes.tasks[0].state
        if state.finished_at is not None and state.started_at is not None:
            # It was started before the commit that recorded its start.
            quick = state.finished_at - state.started_at < 2 * commit_seconds
            self._seconds = min(commit_seconds / 2, MOST_SECONDS) if quick else 0.0

    def seconds(self, arrived: int) -> float:
        """How long to wait for others, after so many have ended; 0: take the turn."""
        if not self._seconds or self._world.running <= arrived:
            return 0.0
        if self._passing:
            self._passing -= 1
            return 0.0
        return self._seconds

    def waited(self, came: int) -> None:
        """So many came meanwhile."""
        if came:
            self._in_vain = 1
        else:
            self._passing, self._in_vain = self._in_vain, min(2 * self._in_vain, MOST_TURNS)
