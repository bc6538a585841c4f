"""What a task's body does: one runner for each kind, found through one registry.

A runner turns an `Attempt` into an `Outcome` in the thread that calls it. It does not retry, time out or store: that is
the engine's. What may run at all is the `Policy`'s to say, and every runner asks it again, whatever was validated
before.

Nothing heavy is imported with this package: processes that run bodies import parts of it, and must stay small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from flowweaver.core.events import Outcome
from flowweaver.policy import Policy
from flowweaver.ports import Attempt, ChildProcess, Runner
from flowweaver.runners.current import CurrentTask, current_task

__all__ = ["CurrentTask", "current_task", "kill_survivors", "registry", "run_attempt"]


def registry(policy: Policy, *, now: Callable[[], float] = time.time) -> Mapping[str, Runner]:
    """Every runner by the kind of body that it runs, each bound to what `policy` allows. `now` gives seconds since the
    epoch.
    """
    from flowweaver.runners.kinds import runners_for

    return runners_for(policy, now)


def run_attempt(runners: Mapping[str, Runner]) -> Callable[[Attempt], Outcome]:
    """What an executor calls: runs an attempt with the runner of its kind, then asks the task's `retry.when`."""
    from flowweaver.runners.attempts import attempt_runner

    return attempt_runner(runners)


def kill_survivors(processes: Sequence[ChildProcess]) -> int:
    """End every process that is left of these attempts' processes, and never a stranger's; gives how many there were.

    Call it with `store.read_processes()` before an engine starts on that store.
    """
    from flowweaver.runners.survivors import end_sessions

    return end_sessions(processes)
