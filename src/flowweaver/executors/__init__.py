"""Where attempts run: beside the engine, never on its thread.

An executor knows nothing of what a body does (that is `runners`) nor of what follows from its end (that is `core`).
`event_loop.EventLoopExecutor` is not named here, because it loads asyncio.
"""

from __future__ import annotations

from flowweaver.executors.sequential import Lane, SequentialExecutor
from flowweaver.executors.threaded import ThreadedExecutor

__all__ = ["Lane", "SequentialExecutor", "ThreadedExecutor"]
