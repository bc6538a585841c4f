"""A Lease an instance: it warns, and holds back a second start. It fences nothing.

What excludes a second engine is the lock on the state file, and what refuses its reports is the API server; an engine
that lives through an hour without the API server can not depend on a Lease. So a Lease that can not be read holds back
nobody.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Any

from flowweaver.operator.api import (
    Api,
    ApiConflictError,
    ApiError,
    ApiGoneError,
    ApiKindMissingError,
    ApiUnreachableError,
)
from flowweaver.operator.names import LEASE_PREFIX
from flowweaver.operator.objects import instant

DURATION_SECONDS = 15
RENEW_SECONDS = 5.0
POLL_SECONDS = 1.0
logger = logging.getLogger(__name__)


class Lease:
    """One holder of one Lease. The holder's name has its store's id, so that the same volume goes on at once. So does a
    pod, whatever its volume: no second one of its name is in its namespace, and its last life can not come back.
    """

    def __init__(self, api: Api, *, namespace: str, instance: str, name: str, store: str, is_pod: bool) -> None:
        """`name` is the pod's where `is_pod`, else the host's."""
        self._api = api
        self._name = LEASE_PREFIX + instance
        self._namespace = namespace
        self._holder = f"{name}_{store}"
        self._pod_prefix = f"{name}_" if is_pod else ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="flowweaver-lease", daemon=True)
        self._warned = ""
        self.predecessor = ""  # the store of this pod's last life, where that was another one
        self.held = False
        self.reachable = True  # whether the API server answered when it was asked last

    def wait(self, stopping: threading.Event) -> None:
        """Return when nobody else holds it, or when that can not be told; at the latest when stopping."""
        while not stopping.is_set():
            other = self._try(starting=True)
            if not other:
                return
            if other != self._warned:
                self._warned = other
                where = f"Lease {self._namespace}/{self._name}"
                logger.warning("another operator of this instance is at work (%s, %s): waiting for it", other, where)
            stopping.wait(POLL_SECONDS)

    def start(self) -> None:
        """Renew it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Let it go."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        if not self.held:
            return
        try:
            lease = self._api.call("GET", self._path)
            if (lease.get("spec") or {}).get("holderIdentity") == self._holder:
                self._write(lease, holder="")
        except ApiError as error:
            logger.debug("the Lease was not released: %s", error)

    # ------------------------------------------------------------------------------------------------------- inside

    @property
    def _path(self) -> str:
        return f"{self._collection}/{self._name}"

    @property
    def _collection(self) -> str:
        return f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"

    def _renew(self) -> None:
        while not self._stopping.wait(RENEW_SECONDS):
            other = self._try()
            if other and other != self._warned:
                self._warned = other
                logger.error(
                    "another operator of this instance has taken the Lease (%s): give one another --instance", other
                )

    def _try(self, *, starting: bool = False) -> str:
        """Take or renew it; gives who else has it, empty where nobody has or it can not be told."""
        try:
            other = self._take(starting=starting)
        except ApiConflictError:
            other = self._warned  # somebody was quicker; the next look tells who
        except ApiUnreachableError as error:
            if self.reachable:
                logger.warning("the API server can not be reached; what runs goes on: %s", error)
            self.reachable = False
            return ""
        except ApiError as error:
            logger.debug("the Lease could not be taken: %s", error)
            other = ""
        if not self.reachable:
            logger.info("the API server answers again")
        self.reachable = True
        return other

    def _take(self, *, starting: bool) -> str:
        try:
            lease = self._api.call("GET", self._path)
        except (ApiGoneError, ApiKindMissingError):
            self._api.call("POST", self._collection, self._body({}, self._holder))
            self.held = True
            return ""
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder not in ("", self._holder):
            if starting and self._pod_prefix and holder.startswith(self._pod_prefix):
                self.predecessor = holder.removeprefix(self._pod_prefix)
            elif not _expired(spec):
                self.held = False
                return holder
        self._write(lease, holder=self._holder)
        self.held = True
        return ""

    def _write(self, lease: dict[str, Any], *, holder: str) -> None:
        """With the version that was read, so that of two writers one gets it."""
        body = self._body(lease.get("spec") or {}, holder)
        body["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
        self._api.call("PATCH", self._path, body)

    def _body(self, before: dict[str, Any], holder: str) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == holder
        changes = int(before.get("leaseTransitions") or 0)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "acquireTime": before.get("acquireTime") if same and before.get("acquireTime") else now,
                "renewTime": now,
                "leaseTransitions": changes if same or not before else changes + 1,
            },
        }


def _expired(spec: dict[str, Any]) -> bool:
    renewed_at = instant(spec.get("renewTime"))
    lasts = float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
    return renewed_at is None or datetime.now(UTC).timestamp() > renewed_at + lasts
