"""Lets go of the Workflows that are under way, before a release goes for good: takes our finalizer off them.

An operator at work would put it on again, so its StatefulSet is scaled to nothing first. Whatever goes wrong is told
and never repeated for ever: who uninstalls is waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from flowweaver.operator import claims
from flowweaver.operator.api import (
    Api,
    ApiConflictError,
    ApiError,
    ApiForbiddenError,
    ApiGoneError,
    ApiKindMissingError,
    ApiRefusedError,
)
from flowweaver.operator.names import FINALIZER
from flowweaver.operator.objects import WorkflowObject, parse

POLL_SECONDS = 1.0
RELEASE_SECONDS = 60.0
QUIET_LOOKS = 3
"""After an operator that has not ended in time: so often nothing must be found, in case it puts one on again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What goes."""

    instance: str
    namespaces: tuple[str, ...] = ()  # where its Workflows are; empty: everywhere
    statefulset: tuple[str, str] | None = None  # namespace and name; None: there is nothing to stop
    wait_seconds: float = 120.0  # how long its pod may take to end


@dataclass(frozen=True, slots=True, kw_only=True)
class Farewell:
    """What became of it."""

    released: int  # Workflows that were let go
    held: int  # that were not
    problems: tuple[str, ...]  # sentences


class Leaver:
    """Carries out one leaving."""

    def __init__(
        self,
        api: Api,
        leaving: Leaving,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._leaving = leaving
        self._clock = clock
        self._pause = pause
        self._problems: list[str] = []
        self._released = 0
        self._held = 0

    def leave(self) -> Farewell:
        """Stop the operator, then let go of its Workflows. Idempotent; raises nothing of the API server's."""
        ended = self._leaving.statefulset is None or self._stop(*self._leaving.statefulset)
        try:
            self._release(1 if ended else QUIET_LOOKS)
        except ApiKindMissingError:
            self._held = 0  # without the kind there are none
        except ApiError as error:
            self._problems.append(f"the Workflows could not be let go: {error}")
        return Farewell(released=self._released, held=self._held, problems=tuple(self._problems))

    def _stop(self, namespace: str, name: str) -> bool:
        """Gives whether its pod has ended."""
        path = f"/apis/apps/v1/namespaces/{quote(namespace)}/statefulsets/{quote(name)}/scale"
        deadline = self._clock() + self._leaving.wait_seconds
        wrong = f"its pod has not ended within {self._leaving.wait_seconds:g} s"
        asked = False
        while True:
            try:
                if not asked:
                    self._api.call("PATCH", path, {"spec": {"replicas": 0}})
                    asked = True
                if not (self._api.call("GET", path).get("status") or {}).get("replicas"):
                    return True
            except (ApiGoneError, ApiKindMissingError):
                return True
            except ApiForbiddenError as error:
                self._problems.append(f"the operator was not stopped: {error}")
                return False
            except ApiError as error:
                wrong = str(error)
            if self._clock() >= deadline:
                self._problems.append(f"the operator may still be at work: {wrong}")
                return False
            self._pause(POLL_SECONDS)

    def _release(self, looks: int) -> None:
        deadline = self._clock() + RELEASE_SECONDS
        while looks and self._clock() < deadline:
            found = list(self._still_held())
            self._held = len(found)
            looks -= not found
            for workflow in found:
                if self._clock() < deadline and self._let_go(workflow):
                    self._released += 1
                    self._held -= 1
            if looks and self._held == len(found):  # nothing, or nothing that would go: give it a moment
                self._pause(POLL_SECONDS)

    def _still_held(self) -> Iterator[WorkflowObject]:
        for namespace in self._leaving.namespaces or (None,):
            for metadata in self._api.list_metadata(namespace):
                workflow = parse({"metadata": metadata})
                if workflow.held and workflow.instance == self._leaving.instance:
                    yield workflow

    def _let_go(self, workflow: WorkflowObject) -> bool:
        """Gives whether it was let go, or is gone; where it has changed meanwhile the next look finds it again."""
        try:
            self._api.patch_workflow(workflow.namespace, workflow.name, claims.release(workflow))
        except ApiGoneError:
            return True
        except (ApiConflictError, ApiRefusedError):
            return False
        return True


def by_hand() -> str:
    """How a person lets go of what was left."""
    patch = '{"metadata":{"finalizers":null}}'
    return f"they keep the finalizer {FINALIZER}; take it off: kubectl patch fw NAME --type=merge -p '{patch}'"
