"""What an expression may read while it is evaluated.

Results of other tasks are decoded when an expression asks for them, and what is given is a copy, so that nobody sees
what another one did to it, and a big result that is not read costs nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowweaver.errors import ExpressionError
from flowweaver.expressions import values
from flowweaver.expressions.metering import Meter
from flowweaver.ports import Attempt, Dependency


@dataclass(frozen=True, slots=True)
class Scope:
    """The names and their values. `names` has all but `tasks`; build one with `scope_of`. What reading them costs is
    charged to `meter`, so that one scope is for one attempt.
    """

    names: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Dependency] = field(default_factory=dict)
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)

    def adding(self, **names: Any) -> Scope:
        """The same scope and these JSON values besides: `response`, `error`, `attempt`."""
        return replace(self, names={**self.names, **names})

    def task(self, name: str) -> dict[str, Any]:
        """What `tasks.NAME` is, not to be changed; raises `ExpressionError` for one that the task does not depend
        on.
        """
        return task_view(self.dependency(name), self.meter)

    def dependency(self, name: str) -> Dependency:
        """The task itself; raises as `task` does."""
        dependency = self.tasks.get(name)
        if dependency is None:
            raise ExpressionError(f'task "{name}" can not be read here: add it to dependsOn')
        return dependency

    def read(self, root: str) -> Any:
        """The value of a name other than `tasks`; raises `ExpressionError` where it is not in scope."""
        try:
            return self.names[root]
        except KeyError:
            raise ExpressionError(unknown_name(root, (*self.names, "tasks"))) from None


def scope_of(attempt: Attempt) -> Scope:
    """The scope of an attempt's body: `params`, `workflow` and the tasks that it depends on."""
    run = attempt.run
    started_at = dt.datetime.fromtimestamp(attempt.run_started_at, dt.UTC)
    workflow = {
        "name": run.name,
        "namespace": run.namespace,
        "uid": run.uid,
        "startedAt": values.timestamp(started_at),
    }
    return Scope({"params": run.params, "workflow": workflow}, attempt.dependencies)


def task_view(dependency: Dependency, meter: Meter) -> dict[str, Any]:
    """A finished task as expressions see it. `result` and `error` are null where there is none."""
    failed = dependency.phase == "Failed"
    return {
        "result": None if dependency.result is None else meter.decoded(dependency.result),
        "phase": dependency.phase,
        "error": {"type": dependency.error_type, "message": dependency.message} if failed else None,
        "attempts": dependency.attempts,
    }


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The sentence about a name that is not in scope."""
    return f'nothing is named "{name}" here: in scope are {", ".join(sorted(known))}'
