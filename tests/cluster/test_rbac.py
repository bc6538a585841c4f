"""The operator has the rights that the chart gives it, and needs each of them.

That they are enough all other tests here show, which have no others. Here one verb is missing at a time, and what fails
then is what that verb is for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.control_plane import Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator, render_chart
from tests.cluster.processes import await_true
from tests.cluster.rights import take_away, verbs
from tests.cluster.workflows import events_of, phase_of, workflow

pytestmark = pytest.mark.control_plane

READY = "it gets ready and its watch goes on"
COMPLETES = "it completes a Workflow"
TELLS = "it tells of it in an Event"
DELETES = "it deletes what has outlived its time"
LEASE = "it has its Lease"
VANISHED = "it ends the run of a Workflow that has vanished"
LETS_GO = "it lets go of its Lease at the end"

WHAT_FAILS = {
    ("workflows", "list"): READY,
    ("workflows", "watch"): f"{COMPLETES}|{READY}",  # it limps along: each new start of the watch lists once more
    ("workflows", "patch"): COMPLETES,
    ("workflows/status", "patch"): COMPLETES,
    ("events", "create"): TELLS,
    ("workflows", "delete"): DELETES,
    ("leases", "create"): LEASE,
    ("leases", "get"): LEASE,
    ("workflows", "get"): VANISHED,
    ("leases", "patch"): LETS_GO,
}
"""What each right is for."""

AFTER_DENIAL_SECONDS = 3.0
"""What was denied will not come; this is for what would come in spite of it, and the right would be needless."""


class StepFailedError(AssertionError):
    """Carries the name of the step."""


@dataclass(slots=True)
class Life:
    """A short life of an operator that does one of everything."""

    operator: Operator
    kubectl: Kubectl
    lacking: tuple[str, str]  # resource and verb; empty where it has everything

    def live(self) -> None:
        """Raises `StepFailedError` at the first step that does not come about."""
        self.operator.start(ready=False)
        self.step(READY, self.operator.is_ready)
        hello = {"name": "hello", "value": "hello"}
        brief = workflow("brief", hello, ttlSecondsAfterFinished=1)
        self.kubectl.apply(
            workflow("hello", hello), brief, workflow("long", {"name": "long", "wait": {"duration": "1h"}})
        )
        self.require(READY, not self.watch_restarts())
        self.step(COMPLETES, lambda: phase_of(self.kubectl, "hello") == "Completed")
        self.require(READY, not self.watch_restarts())
        self.step(TELLS, lambda: "Completed" in events_of(self.kubectl, "hello"))
        self.step(DELETES, lambda: self.is_gone("brief"))
        self.step(LEASE, self.lease_holder)
        self.step(COMPLETES, lambda: phase_of(self.kubectl, "long") == "Running")
        self.operator.kill()
        self.kubectl("patch", "fw", "long", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        self.kubectl("delete", "fw", "long")
        self.operator.start(ready=False)
        gone = 'flowweaver_workflows{phase="running"} 0.0'
        self.step(READY, self.operator.is_ready)
        self.step(VANISHED, lambda: gone in self.operator.get("/metrics").text)
        assert self.operator.terminate() == 0
        self.require(LETS_GO, not self.lease_holder())

    def step(self, name: str, holds: Callable[[], object]) -> None:
        """Wait until it holds; a little only where the API server has denied what this step is expected to lack."""
        denied_at = 0.0
        expected = name in WHAT_FAILS.get(self.lacking, "").split("|")

        def over() -> bool:
            nonlocal denied_at
            if holds():
                return True
            if expected and not denied_at and self.is_denied():
                denied_at = time.monotonic()
            return bool(denied_at) and time.monotonic() - denied_at > AFTER_DENIAL_SECONDS

        await_true(name, over, seconds=90, every_seconds=0.1)
        self.require(name, holds())

    def require(self, name: str, holds: object) -> None:
        if not holds:
            raise StepFailedError(name)

    def is_denied(self) -> bool:
        """Whether its log tells that the API server has refused what is lacking."""
        resource, verb = self.lacking
        return bool(verb) and f'cannot {verb} resource "{resource}"' in self.operator.output()

    def watch_restarts(self) -> bool:
        return re.search(r"^flowweaver_watch_restarts_total\{.*\} [1-9]", self.metrics(), re.MULTILINE) is not None

    def metrics(self) -> str:
        return self.operator.get("/metrics").text

    def is_gone(self, name: str) -> bool:
        return "NotFound" in self.kubectl.run("get", "fw", name).stderr

    def lease_holder(self) -> str:
        leases: list[dict[str, Any]] = self.kubectl.json("get", "leases")["items"]
        return "".join(lease["spec"].get("holderIdentity") or "" for lease in leases)


@pytest.fixture
def life(control_plane: Access, namespace: str, tmp_path: Path) -> Any:
    made: list[Operator] = []

    def prepare(resource: str = "", verb: str = "") -> Life:
        operator = Operator.prepare(control_plane, namespace, tmp_path, log={"level": "debug"})
        operator.environment["FLOWWEAVER_LOG_LEVEL"] = "debug"
        made.append(operator)
        kubectl = control_plane.kubectl.within(namespace)
        if verb:
            take_away(kubectl, operator.rendered, "operator-flowweaver", resource, verb)
        return Life(operator, kubectl, (resource, verb))

    yield prepare
    for operator in made:
        operator.close()


def test_of_each_right_it_is_known_what_fails_without_it() -> None:
    values = {"namespaces": ["one"], "rbac": {"aggregateToView": False}}
    for namespaces in ([], ["one"]):
        assert verbs(render_chart("x", "y", {**values, "namespaces": namespaces})) == set(WHAT_FAILS)


@pytest.mark.slow
def test_with_every_right_of_the_chart_it_does_everything(life: Callable[..., Life]) -> None:
    life().live()


@pytest.mark.slow
@pytest.mark.parametrize(("resource", "verb"), WHAT_FAILS, ids=lambda part: str(part).replace("/", "-"))
def test_without_one_verb_something_fails(
    life: Callable[..., Life], resource: str, verb: str, measured: Callable[[str], None]
) -> None:
    lived = life(resource, verb)
    with pytest.raises(StepFailedError, match=f"^({WHAT_FAILS[resource, verb]})$") as failed:
        lived.live()
    assert lived.is_denied()
    measured(f"without {verb} of {resource} this fails: {failed.value}")
