"""The few calls that the operator makes to the API server itself, over the official client's configuration and pool.

Watching is kopf's business. Every failure comes out as one of the errors here, named by what follows from it; nothing
is repeated here, since who calls knows better when a repetition makes sense.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from flowweaver.errors import FlowWeaverError, UserError
from flowweaver.operator.names import API_VERSION, FIELD_MANAGER, PLURAL

TIMEOUT = urllib3.Timeout(connect=3.0, read=15.0)
PAGE = 500  # objects a page of a list

_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ApiError(FlowWeaverError):
    """The API server did not do what was asked. `status` is 0 where it gave no answer."""

    def __init__(self, message: str, *, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ApiUnreachableError(ApiError):
    """It can not be reached, or did not answer in time. Whether a write happened is unknown."""


class ApiBusyError(ApiError):
    """It is overloaded or failing (429, 5xx): the same request may succeed later."""


class ApiConflictError(ApiError):
    """The object has changed meanwhile (409): look again."""


class ApiGoneError(ApiError):
    """The object is not there (404)."""


class ApiKindMissingError(ApiError):
    """The CRD is not there (404 without an object): nothing follows for any object."""


class ApiForbiddenError(ApiError):
    """RBAC or admission refuses it (401, 403)."""


class ApiRefusedError(ApiError):
    """The request can never succeed as it is (422 and other 4xx): a test of a patch failed, or a rule refuses it."""


class ApiTooLargeError(ApiError):
    """The object would become larger than the API server stores (413, or etcd's own limit)."""


class ApiMeter(Protocol):
    """Who counts requests."""

    def requested(self, method: str, code: int, seconds: float) -> None:
        """One was answered; `code` is 0 where there was no answer."""


class SilentApiMeter:
    """Counts nothing."""

    def requested(self, method: str, code: int, seconds: float) -> None: ...


def configuration() -> Configuration:
    """Where the API server is and who we are: the pod's service account, else `KUBECONFIG`. Raises `UserError`."""
    found = Configuration()
    try:
        load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    except ConfigException:
        try:
            load_kube_config(client_configuration=found)  # type: ignore[no-untyped-call]
        except ConfigException as error:
            raise UserError(
                f"no Kubernetes: there is no service account here, and no usable KUBECONFIG ({error})"
            ) from error
    return found


def own_namespace() -> str:
    """The namespace of the pod's service account; "default" outside a pod."""
    try:
        return _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"


class Api:
    """Calls over a small pool of connections that stay open. Safe from any thread."""

    def __init__(self, found: Configuration, *, meter: ApiMeter | None = None, connections: int = 8) -> None:
        found.connection_pool_maxsize = connections
        self._configuration = found
        self._pool = RESTClientObject(found).pool_manager
        self._meter = meter or SilentApiMeter()
        self._credentials = threading.Lock()

    def close(self) -> None:
        """Drop the connections."""
        self._pool.clear()

    # ---------------------------------------------------------------------------------------------------- workflows

    def read_workflow(self, namespace: str, name: str) -> dict[str, Any]:
        """The whole object; raises `ApiGoneError` where it is not there."""
        return self.call("GET", _workflow(namespace, name))

    def patch_workflow(self, namespace: str, name: str, patch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Apply a JSON patch; gives the new metadata. A failed test is `ApiRefusedError`."""
        return self.call("PATCH", _workflow(namespace, name), patch, accept=_METADATA)

    def patch_status(self, namespace: str, name: str, body: bytes) -> dict[str, Any]:
        """Apply an encoded JSON patch to the status; gives the new metadata."""
        return self.call("PATCH", _workflow(namespace, name) + "/status", body, accept=_METADATA)

    def delete_workflow(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete exactly this object; another one of its name is an `ApiConflictError`."""
        preconditions = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        self.call("DELETE", _workflow(namespace, name), preconditions)

    def list_metadata(self, namespace: str | None) -> Iterator[dict[str, Any]]:
        """The metadata of every Workflow of a namespace (None: of all), page by page."""
        path = f"/apis/{API_VERSION}/{PLURAL}"
        if namespace is not None:
            path = f"/apis/{API_VERSION}/namespaces/{quote(namespace)}/{PLURAL}"
        token = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": token} if token else {})}
            page = self.call("GET", f"{path}?{urlencode(query)}", accept=_METADATA_LIST)
            for item in page.get("items") or ():
                yield item["metadata"]
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return

    def require_kind(self) -> None:
        """Raises `ApiKindMissingError` while the API server does not offer Workflows."""
        try:
            offered = self.call("GET", f"/apis/{API_VERSION}")
        except ApiGoneError as error:
            raise ApiKindMissingError(str(error), status=error.status) from error
        if PLURAL not in {found.get("name") for found in offered.get("resources") or ()}:
            raise ApiKindMissingError(f"the API server offers no {PLURAL} in {API_VERSION}: apply the CRD", status=404)

    # ------------------------------------------------------------------------------------------------------ any call

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """One request, one answer. Bodies that are lists or bytes of a PATCH are JSON patches, mappings merge
        patches.
        """
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER, **self._authorization()}
        if body is not None:
            headers["Content-Type"] = _content_type(method, body)
        if method in {"PATCH", "POST", "PUT"}:
            path += ("&" if "?" in path else "?") + f"fieldManager={FIELD_MANAGER}"
        encoded = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        began = time.monotonic()
        code = 0
        try:
            response = self._pool.request(
                method,
                str(self._configuration.host).rstrip("/") + path,
                body=encoded,
                headers=headers,
                timeout=TIMEOUT,
                retries=False,
                redirect=False,
            )
            code = response.status
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiUnreachableError(f"{method} {path}: {_plain(error)}") from error
        finally:
            self._meter.requested(method, code, time.monotonic() - began)
        if code >= 400:
            raise _failure(method, path, response)
        return dict(json.loads(response.data)) if response.data else {}

    def _authorization(self) -> dict[str, str]:
        with self._credentials:  # reading them may read the token's file again
            settings = self._configuration.auth_settings()
        found = settings.get("BearerToken")
        return {} if found is None or not found["value"] else {"Authorization": str(found["value"])}


def _workflow(namespace: str, name: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{quote(namespace)}/{PLURAL}/{quote(name)}"


def _content_type(method: str, body: object) -> str:
    if method != "PATCH":
        return "application/json"
    return "application/merge-patch+json" if isinstance(body, Mapping) else "application/json-patch+json"


def _failure(method: str, path: str, response: urllib3.BaseHTTPResponse) -> ApiError:
    code, text = response.status, response.data.decode("utf-8", "replace")
    named = False
    with contextlib.suppress(ValueError, AttributeError):
        answer = json.loads(text)
        text = answer.get("message") or text
        named = bool((answer.get("details") or {}).get("name"))
    message = f"{method} {path}: {code}: {text[:1000]}"
    after = _seconds(response.headers.get("Retry-After", ""))
    if code == 413 or "request is too large" in text or "trying to send message larger than max" in text:
        return ApiTooLargeError(message, status=code)
    if code == 404 and not named:
        return ApiKindMissingError(message, status=code)
    kind = {
        401: ApiForbiddenError,
        403: ApiForbiddenError,
        404: ApiGoneError,
        409: ApiConflictError,
        429: ApiBusyError,
    }.get(code)
    if kind is None:
        kind = ApiBusyError if code >= 500 else ApiRefusedError
    return kind(message, status=code, retry_after_seconds=after)


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() else 0.0


def _plain(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
