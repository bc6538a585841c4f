"""What the operator must be allowed to do, and what its chart grants: one list for everybody who asks whether it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowweaver.operator.names import GROUP, LEASE_PREFIX, PLURAL

if TYPE_CHECKING:
    from flowweaver.operator.api import Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One verb on one resource. An empty namespace is all of them."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}.{self.group}" + (f"/{self.subresource}" if self.subresource else "")
        which = f' "{self.name}"' if self.name else ""
        return f"{self.verb} {what}{which} {f'in {self.namespace}' if self.namespace else 'in all namespaces'}"

    def attributes(self) -> dict[str, str]:
        """As the API's access reviews ask for it."""
        names = ("verb", "group", "resource", "subresource", "name", "namespace")
        return {name: value for name in names if (value := getattr(self, name))}


def needed(*, namespaces: Sequence[str], own_namespace: str, instance: str) -> Iterator[Right]:
    """All of them, for an operator that watches these namespaces (none: all)."""
    for namespace in namespaces or ("",):
        for verb in ("get", "list", "watch", "patch", "delete"):
            yield Right(verb=verb, group=GROUP, resource=PLURAL, namespace=namespace)
        yield Right(verb="patch", group=GROUP, resource=PLURAL, subresource="status", namespace=namespace)
        yield Right(verb="create", group="events.k8s.io", resource="events", namespace=namespace)
    lease: dict[str, str] = {"group": "coordination.k8s.io", "resource": "leases", "namespace": own_namespace}
    yield Right(verb="create", **lease)
    for verb in ("get", "patch"):
        yield Right(verb=verb, name=f"{LEASE_PREFIX}{instance}", **lease)


def ask(api: Api, right: Right) -> bool:
    """Whether whoever `api` speaks as has that right; raises `ApiError`."""
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": right.attributes()},
    }
    answer = api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool((answer.get("status") or {}).get("allowed"))
