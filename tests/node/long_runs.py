"""A run that is disturbed in its middle: what its store said and what its bodies did, seen before each disturbance.

Each body appends a line to a file on the release's volume before it does anything else: its name, when it began, and
when the container that it runs in had begun, by the clock of the machine. So nothing here is the engine's own word.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.kubectl import Kubectl
from tests.node.conftest import Release

FOLDER = "/var/lib/flowweaver"
BODY = """
read now rest < /proc/uptime
set -- $(cat /proc/1/stat)
echo "{name} $now ${{22}}" >> {folder}/{file}
sleep {seconds}
"""
TICKS = 100  # how many a second has in /proc/1/stat, on every machine

# The store first: whatever it knows as completed has left its line before.
LOOK = """
import apsw, json, sys
folder, workflow, file = sys.argv[1:]
store = apsw.Connection(folder + "/state.db", flags=apsw.SQLITE_OPEN_READONLY)
completed = "FROM task_runs WHERE run IN (SELECT key FROM runs WHERE workflow = ?) AND status = 'completed'"
done = [name for (name,) in store.execute("SELECT task_name " + completed, (workflow,))]
try:
    lines = open(folder + "/" + file).read().splitlines()
except FileNotFoundError:
    lines = []
ticks = int(open("/proc/1/stat").read().rpartition(")")[2].split()[19])
print(json.dumps([done, ticks, lines]))
"""

# Each task's attempts, and which of them completed it.
ATTEMPTS = """
SELECT task_name, max(number), sum(attempts.status = 'completed'), max(number * (attempts.status = 'completed'))
FROM attempts JOIN task_runs ON task_runs.key = attempts.task JOIN runs ON runs.key = task_runs.run
WHERE runs.workflow = '{key}' GROUP BY task_name
"""


@dataclass(frozen=True, slots=True)
class Beginning:
    """One body began."""

    task: str
    at: float  # seconds since the machine was started
    container_at: float  # when the operator's container was started, by the same clock

    @classmethod
    def read(cls, line: str) -> Beginning:
        task, now, ticks = line.split()
        return cls(task, float(now), int(ticks) / TICKS)


@dataclass(frozen=True, slots=True)
class Look:
    """What there was at one moment."""

    done: frozenset[str]  # recorded as completed
    container_at: float  # when the container that runs now was started
    begun: tuple[Beginning, ...]

    @property
    def deaths(self) -> int:
        """How many containers have ended at one of the tasks that have not completed, at most."""
        before = [each.task for each in self.begun if each.container_at < self.container_at]
        return max(Counter(task for task in before if task not in self.done).values(), default=0)

    def cut_off(self) -> list[Beginning]:
        """The bodies that began and began again later."""
        last = {each.task: each for each in self.begun}
        return [each for each in self.begun if each is not last[each.task]]


@dataclass(slots=True)
class LongRun:
    """A run of many short tasks in as many lanes as `lanes` says; each task takes `seconds`."""

    release: Release
    workflows: Kubectl
    name: str
    tasks: int = 200
    lanes: int = 8
    seconds: float = 1.0
    times: dict[str, int] = field(default_factory=dict)  # how often each task that was seen as completed had run then
    disturbances: int = 0

    @property
    def key(self) -> str:
        """Its name in the store."""
        return f"{self.workflows.namespace}/{self.name}"

    def apply(self) -> None:
        """Create it."""
        kind = {"apiVersion": "flowweaver.io/v1alpha1", "kind": "Workflow"}
        self.workflows.apply({**kind, "metadata": {"name": self.name}, "spec": {"tasks": self._tasks()}})

    def _tasks(self) -> list[dict[str, Any]]:
        """In lanes side by side, each task after the one before it in its lane."""
        return [
            {
                "name": f"task-{index}",
                **({"dependsOn": [f"task-{index - self.lanes}"]} if index >= self.lanes else {}),
                "shell": {
                    "script": BODY.format(
                        name=f"task-{index}", folder=FOLDER, file=f"{self.name}.txt", seconds=self.seconds
                    )
                },
            }
            for index in range(self.tasks)
        ]

    def look(self) -> Look:
        """What there is now; raises `KubectlError` where the container does not run."""
        command = ["exec", self.release.pod, "--", "python3", "-c", LOOK, FOLDER, self.key, f"{self.name}.txt"]
        done, ticks, lines = json.loads(self.release.kubectl(*command))
        return Look(frozenset(done), ticks / TICKS, tuple(map(Beginning.read, lines)))

    def note(self) -> Look:
        """Look, and keep what was seen for `check`: called before each disturbance, in the middle of the run."""
        seen = self.look()
        assert len(seen.done) < self.tasks, "a disturbance must come in the middle"
        times = Counter(beginning.task for beginning in seen.begun)
        self.times.update({name: times[name] for name in seen.done})
        self.disturbances += 1
        return seen

    def check(self, *, repeated_at_most: int) -> Look:
        """That it has completed, and that nothing which was seen as completed ran again; gives how it is at its end."""
        status = self.workflows.json("get", "fw", self.name)["status"]
        assert (status["phase"], status["progress"]) == ("Completed", f"{self.tasks}/{self.tasks}"), status
        end = self.look()
        assert len(end.done) == self.tasks
        times = Counter(beginning.task for beginning in end.begun)
        assert set(times) == {f"task-{index}" for index in range(self.tasks)}
        again = {name: (before, times[name]) for name, before in self.times.items() if times[name] != before}
        assert not again, f"recorded as completed, and run again (times before, times now): {again}"
        assert self.times, "nothing was seen before a disturbance, so that nothing was shown"
        for name, attempts, completed, completing in self.release.read(ATTEMPTS.format(key=self.key)):
            assert (completed, completing) == (1, attempts), f"{name} was started again after it had completed"
            assert times[name] <= attempts, f"{name} ran more often than the store knows"
        assert len(end.begun) - self.tasks <= repeated_at_most, "more bodies were repeated than can have been under way"
        return end


def first_starts(begun: tuple[Beginning, ...]) -> list[float]:
    """For each container that began a body: how many seconds after its own start, in order."""
    found: dict[float, float] = {}
    for beginning in begun:
        found.setdefault(beginning.container_at, beginning.at - beginning.container_at)
    return [found[container_at] for container_at in sorted(found)]
