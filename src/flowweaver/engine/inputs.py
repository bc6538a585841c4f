"""What an attempt may know of the tasks that it depends on.

A result stays in memory, encoded, until the last task that reads it has finished, as long as all of them together are
not too large; one that is not there is read from the store. Every consumer decodes its own copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from flowweaver.core.events import Failed
from flowweaver.core.phases import Reason, TaskPhase
from flowweaver.core.state import RunState, TaskState
from flowweaver.ports import Dependency

KEPT_BYTES = 64 << 20
"""Results of all runs together: a wide run of large results must not fill the memory while its last task waits."""

GIVEN_BYTES = 64 << 20
"""Results that one attempt may be given, unless the engine is told otherwise: it may depend on a thousand tasks, and
each result be as large as allowed.
"""

READ_AT_ONCE = 32  # results, so that no more than a few too many are ever in memory

_SPOKEN = {phase: phase.capitalize() for phase in TaskPhase}

ReadResults = Callable[[int, Sequence[int]], Mapping[int, bytes]]
"""As `ports.Store.read_results`."""


class _Kept(Struct, gc=False):
    known: Dependency  # the same for all readers
    size: int
    readers: int  # unfinished tasks that depend on it


class Inputs:
    """The results of unfinished runs that somebody will still read."""

    def __init__(self, read: ReadResults, given_bytes: int = GIVEN_BYTES) -> None:
        """`read` is asked for results that are not in memory; `given_bytes` is what one attempt may be given."""
        self.bytes = 0  # of all that is kept
        self._given_bytes = given_bytes
        self._stored = read
        self._kept: dict[int, dict[int, _Kept]] = {}

    @property
    def too_much(self) -> Failed:
        """How an attempt ends that would have to be given more than it may be."""
        return Failed(
            reason=Reason.RESULT_TOO_LARGE,
            message=f"the tasks that it depends on have more than {self._given_bytes >> 20} MiB of results together: "
            "let them give less, or gather them in several steps",
            error_type="ResultTooLarge",
            retryable=False,
        )

    def keep(self, run: RunState, task: int, result: bytes) -> None:
        """A task has a result; it is kept for those of its dependants that have not finished, if there is room.

        One that waits has its result already, and is not what it will be: that is read from the store in its time.
        """
        tasks, size = run.tasks, len(result)
        state = tasks[task]
        if self.bytes + size > KEPT_BYTES or state.phase is not TaskPhase.COMPLETED:
            return
        readers = [tasks[reader].phase.finished for reader in run.graph.dependants[task]].count(False)
        if readers:
            kept = self._kept.get(run.key)
            if kept is None:
                kept = self._kept[run.key] = {}
            kept[task] = _Kept(_known(state, result), size, readers)
            self.bytes += size

    def finished(self, run: RunState, task: int) -> None:
        """A task has finished: results that only it was going to read can go."""
        kept = self._kept.get(run.key)
        if not kept:
            return
        for wanted in run.graph.dependencies[task]:
            if (entry := kept.get(wanted)) is not None:
                entry.readers -= 1
                if not entry.readers:
                    del kept[wanted]
                    self.bytes -= entry.size

    def forget(self, run: int) -> None:
        """The run is over."""
        self.bytes -= sum(entry.size for entry in self._kept.pop(run, {}).values())

    def of(self, run: RunState, task: int) -> Mapping[str, Dependency] | None:
        """What an attempt of that task may know, by task name; None where it is more than it may be given."""
        wanted = run.graph.dependencies[task]
        if not wanted:
            return {}
        names, kept = run.graph.names, self._kept.get(run.key, {})
        found = {}
        size = 0
        for position in wanted:
            if (entry := kept.get(position)) is None:
                return self._of_stored(run, wanted)
            found[names[position]] = entry.known
            size += entry.size
        return found if size <= self._given_bytes else None

    def _of_stored(self, run: RunState, wanted: Sequence[int]) -> Mapping[str, Dependency] | None:
        """The same where not all results are in memory."""
        results = self._read(run, wanted)
        if results is None:
            return None
        names, tasks = run.graph.names, run.tasks
        return {names[position]: _known(tasks[position], results.get(position)) for position in wanted}

    def _read(self, run: RunState, wanted: Sequence[int]) -> dict[int, bytes] | None:
        """The results of those that completed."""
        kept, tasks = self._kept.get(run.key, {}), run.tasks
        results: dict[int, bytes] = {}
        missing: list[int] = []
        size = 0
        for position in wanted:
            if tasks[position].phase is not TaskPhase.COMPLETED:
                continue
            if (entry := kept.get(position)) is None or entry.known.result is None:
                missing.append(position)
            else:
                results[position] = entry.known.result
                size += entry.size
        for first in range(0, len(missing), READ_AT_ONCE):
            found = self._stored(run.key, missing[first : first + READ_AT_ONCE])
            results.update(found)
            size += sum(map(len, found.values()))
            if size > self._given_bytes:
                break
        if size > self._given_bytes:
            return None
        for position in missing:
            if (result := results.get(position)) is not None:
                self.keep(run, position, result)
        return results


def _known(state: TaskState, result: bytes | None) -> Dependency:
    return Dependency(_SPOKEN[state.phase], result, state.error_type, state.message, state.attempts)
