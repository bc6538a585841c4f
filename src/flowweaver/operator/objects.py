"""A Workflow as the API server showed it last: what deciding needs, parsed once, small enough to keep in thousands.

Whatever stands in the object, parsing does not raise: the CRD's schema is the API server's business, and one odd object
must not stop the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from flowweaver.operator.names import (
    DEFAULT_INSTANCE,
    FINALIZER,
    INSTANCE_LABEL,
    RECOVER_ANNOTATION,
    STORE_ANNOTATION,
    workflow_key,
)
from flowweaver.ports import StorePosition


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The part of a spec that may change while the run is active or finished."""

    suspend: bool = False
    shutdown: str = ""
    rerun: str = ""
    priority: int = 0
    parallelism: int | None = None
    ttl_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The part of a status that decides anything."""

    phase: str = ""
    observed_generation: int = -1
    observed_rerun: str = ""
    started: bool = False
    finished_at: float | None = None
    accepted: bool | None = None  # None: nobody has said
    stalled: str = ""  # the reason while Stalled is True
    store: StorePosition | None = None
    conditions: tuple[Mapping[str, Any], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether it says that the workflow has ended."""
        return self.phase in {"Completed", "Failed", "Cancelled"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowObject:
    """One Workflow."""

    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    generation: int = 1
    instance: str = DEFAULT_INSTANCE
    finalizers: tuple[str, ...] | None = None  # None: the field is not there
    annotated: bool = False  # whether it has annotations at all
    claimed_by: str = ""  # the store that accepted it
    recover: str = ""  # what its user wants done where its state is lost
    deleting: bool = False
    wishes: Wishes = Wishes()
    reported: Reported = Reported()
    #: the whole object while it may still have to be validated; None: fetch it when it is needed
    body: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """Its name in the queue and in the store."""
        return workflow_key(self.namespace, self.name)

    @property
    def held(self) -> bool:
        """Whether our finalizer is on it."""
        return FINALIZER in (self.finalizers or ())


def parse(raw: Mapping[str, Any]) -> WorkflowObject:
    """A Workflow from what a watch, a list or a GET gave."""
    metadata = _mapping(raw.get("metadata"))
    labels, annotations = _mapping(metadata.get("labels")), metadata.get("annotations")
    finalizers = metadata.get("finalizers")
    shown = reported(_mapping(raw.get("status")))
    return WorkflowObject(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "")),
        uid=str(metadata.get("uid", "")),
        resource_version=str(metadata.get("resourceVersion", "")),
        generation=_integer(metadata.get("generation"), 1),
        instance=str(labels.get(INSTANCE_LABEL, DEFAULT_INSTANCE)),
        finalizers=None if finalizers is None else tuple(finalizers),
        annotated=annotations is not None,
        claimed_by=str(_mapping(annotations).get(STORE_ANNOTATION, "")),
        recover=str(_mapping(annotations).get(RECOVER_ANNOTATION, "")),
        deleting=bool(metadata.get("deletionTimestamp")),
        wishes=_wishes(_mapping(raw.get("spec"))),
        reported=shown,
        body=None if shown.started or shown.finished else raw,
    )


def _wishes(spec: Mapping[str, Any]) -> Wishes:
    parallelism, ttl = spec.get("parallelism"), spec.get("ttlSecondsAfterFinished")
    return Wishes(
        suspend=spec.get("suspend") is True,
        shutdown=str(spec.get("shutdown") or ""),
        rerun=str(spec.get("rerun") or ""),
        priority=_integer(spec.get("priority"), 0),
        parallelism=parallelism if isinstance(parallelism, int) else None,
        ttl_seconds=ttl if isinstance(ttl, int) else None,
    )


def reported(status: Mapping[str, Any]) -> Reported:
    """The part of a status that decides anything."""
    conditions = tuple(found for found in status.get("conditions") or () if isinstance(found, Mapping))
    by_type = {str(found.get("type")): found for found in conditions}
    accepted, stalled = by_type.get("Accepted"), by_type.get("Stalled", {})
    return Reported(
        phase=str(status.get("phase", "")),
        observed_generation=_integer(status.get("observedGeneration"), -1),
        observed_rerun=str(status.get("observedRerun") or ""),
        started=bool(status.get("startedAt")),
        finished_at=instant(status.get("finishedAt")),
        accepted=None if accepted is None else accepted.get("status") == "True",
        stalled=str(stalled.get("reason", "")) if stalled.get("status") == "True" else "",
        store=_position(_mapping(status.get("store"))),
        conditions=conditions,
    )


def _position(store: Mapping[str, Any]) -> StorePosition | None:
    if not store.get("id"):
        return None
    return StorePosition(str(store["id"]), _integer(store.get("epoch"), 0), _integer(store.get("sequence"), 0))


def instant(text: object) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None of anything else."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _integer(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


class ObjectCache:
    """The newest picture of every Workflow that is there. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[str, WorkflowObject] = {}

    def put(self, found: WorkflowObject, *, listed: bool = False) -> WorkflowObject | None:
        """Remember it, unless something newer is known; gives what was known before under its name.

        What comes from a list counts as newest: after a restore of its database a server's versions start lower.
        """
        with self._lock:
            before = self._objects.get(found.key)
            if listed or before is None or before.uid != found.uid or not is_newer(before, found):
                self._objects[found.key] = found
            return before

    def remove(self, key: str, uid: str) -> None:
        """It is gone; another object that has its name by now stays."""
        with self._lock:
            found = self._objects.get(key)
            if found is not None and found.uid == uid:
                del self._objects[key]

    def get(self, key: str) -> WorkflowObject | None:
        """What is known under that name."""
        with self._lock:
            return self._objects.get(key)

    def amend(self, key: str, uid: str, resource_version: str, **changed: Any) -> None:
        """Note what a write of ours has made of it, unless the watch has shown something newer by now."""
        with self._lock:
            found = self._objects.get(key)
            if found is None or found.uid != uid:
                return
            amended = replace(found, resource_version=resource_version, **changed)
            if not is_newer(found, amended):
                self._objects[key] = amended

    def __iter__(self) -> Iterator[WorkflowObject]:
        with self._lock:
            return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)


def is_newer(one: WorkflowObject, other: WorkflowObject) -> bool:
    """Whether `one` is surely newer: versions of one resource can be compared as numbers."""
    versions = one.resource_version, other.resource_version
    return all(version.isdecimal() for version in versions) and int(versions[0]) > int(versions[1])
