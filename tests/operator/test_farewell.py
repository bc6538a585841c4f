"""What is done before a release goes, whatever the API server answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowweaver.operator.api import (
    ApiBusyError,
    ApiError,
    ApiForbiddenError,
    ApiGoneError,
    ApiKindMissingError,
    ApiRefusedError,
    ApiUnreachableError,
)
from flowweaver.operator.farewell import RELEASE_SECONDS, Farewell, Leaver, Leaving
from flowweaver.operator.names import FINALIZER

SCALE = "/apis/apps/v1/namespaces/here/statefulsets/operator/scale"


def metadata(name: str, instance: str = "default", *, held: bool = True) -> dict[str, Any]:
    finalizers = ["example.org/other", FINALIZER] if held else ["example.org/other"]
    labels = {"flowweaver.io/instance": instance}
    return {"name": name, "namespace": "there", "uid": f"uid-{name}", "finalizers": finalizers, "labels": labels}


@dataclass
class FakeApi:
    """Workflows by name, pods that end after so many looks, and what is answered to each call before it succeeds."""

    workflows: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[int] = field(default_factory=lambda: [0])
    trouble: dict[str, list[ApiError]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    after_patch: Callable[[str], None] = lambda name: None

    def _hear(self, what: str) -> None:
        self.calls.append(what)
        if self.trouble.get(what):
            raise self.trouble[what].pop(0)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        assert path == SCALE
        self._hear(method)
        if method == "PATCH":
            assert body == {"spec": {"replicas": 0}}
            return {}
        return {"status": {"replicas": self.pods.pop(0) if len(self.pods) > 1 else self.pods[0]}}

    def list_metadata(self, namespace: str | None) -> Iterator[dict[str, Any]]:
        self._hear(f"list {namespace}")
        yield from [dict(found) for found in self.workflows.values()]

    def patch_workflow(self, namespace: str, name: str, patch: list[dict[str, Any]]) -> dict[str, Any]:
        self._hear(f"patch {name}")
        path = "/metadata/finalizers/1"
        assert namespace == "there"
        assert patch == [
            {"op": "test", "path": "/metadata/uid", "value": f"uid-{name}"},
            {"op": "test", "path": path, "value": FINALIZER},
            {"op": "remove", "path": path},
        ]
        self.workflows[name]["finalizers"] = ["example.org/other"]
        self.after_patch(name)
        return {}


class Clock:
    """A time that passes only in pauses."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def leave(api: FakeApi, **leaving: Any) -> tuple[Farewell, float]:
    """How it went, and how many seconds it took."""
    clock = Clock()
    wanted = Leaving(**{"instance": "default", "statefulset": ("here", "operator"), "wait_seconds": 10, **leaving})
    return Leaver(api, wanted, clock=clock, pause=clock.pause).leave(), clock.now


def test_it_waits_for_the_operators_pod_and_then_lets_go_of_its_own_workflows() -> None:
    api = FakeApi({name: metadata(name) for name in ("a", "b")}, pods=[1, 1, 0])
    api.workflows |= {"c": metadata("c", "blue"), "d": metadata("d", held=False)}
    assert leave(api) == (Farewell(released=2, held=0, problems=()), 2.0)
    assert api.calls == ["PATCH", "GET", "GET", "GET", "list None", "patch a", "patch b", "list None"]
    assert FINALIZER in api.workflows["c"]["finalizers"]


def test_it_looks_into_each_namespace_that_is_watched() -> None:
    api = FakeApi()
    leave(api, namespaces=("one", "two"), statefulset=None)
    assert api.calls == ["list one", "list two"]


@pytest.mark.parametrize("error", [ApiGoneError("no such object"), ApiKindMissingError("no such path")])
def test_an_operator_that_is_not_there_needs_no_stopping(error: ApiError) -> None:
    api = FakeApi({"a": metadata("a")}, trouble={"PATCH": [error]})
    assert leave(api) == (Farewell(released=1, held=0, problems=()), 0.0)


def test_a_short_outage_is_waited_for_and_a_long_one_is_told() -> None:
    api = FakeApi(pods=[1, 0], trouble={"PATCH": [ApiUnreachableError("no answer")], "GET": [ApiBusyError("busy")]})
    assert leave(api) == (Farewell(released=0, held=0, problems=()), 3.0)
    api = FakeApi(trouble={"PATCH": [ApiUnreachableError("no answer")] * 100})
    farewell, _ = leave(api)
    assert farewell.problems == ("the operator may still be at work: no answer",)


def test_who_may_not_stop_the_operator_lets_go_all_the_same() -> None:
    api = FakeApi({"a": metadata("a")}, trouble={"PATCH": [ApiForbiddenError("no")]})
    farewell, _ = leave(api)
    assert farewell == Farewell(released=1, held=0, problems=("the operator was not stopped: no",))


def test_an_operator_that_has_not_ended_may_put_it_on_again_and_is_met_again() -> None:
    api = FakeApi({"a": metadata("a")}, pods=[1])
    left = iter(range(2))
    api.after_patch = lambda name: (
        api.workflows.update({name: metadata(name)}) if next(left, None) is not None else None
    )
    farewell, _ = leave(api)
    assert (farewell.released, farewell.held) == (3, 0)
    assert api.calls.count("list None") == 6, "three with something, and three quiet ones"


def test_a_workflow_that_has_changed_meanwhile_is_looked_at_again() -> None:
    api = FakeApi({"a": metadata("a")}, trouble={"patch a": [ApiRefusedError("testing /metadata/finalizers/1 failed")]})
    assert leave(api) == (Farewell(released=1, held=0, problems=()), 1.0)


def test_a_workflow_that_has_gone_is_let_go() -> None:
    api = FakeApi({"a": metadata("a")}, trouble={"patch a": [ApiGoneError("gone")]})
    farewell, seconds = leave(api)
    assert (farewell.held, seconds) == (0, 0.0), "there was no reason to wait"


def test_what_will_not_go_is_given_up_and_told() -> None:
    refusals: list[ApiError] = [ApiRefusedError("a rule")] * 1000
    api = FakeApi({"a": metadata("a"), "b": metadata("b")}, trouble={"patch a": refusals})
    farewell, seconds = leave(api)
    assert (farewell.released, farewell.held) == (1, 1)
    assert RELEASE_SECONDS <= seconds < RELEASE_SECONDS + 5


def test_without_the_kind_there_is_nothing_to_let_go() -> None:
    api = FakeApi(trouble={"list None": [ApiKindMissingError("no such kind")]})
    assert leave(api) == (Farewell(released=0, held=0, problems=()), 0.0)
