"""The `http` body: one request, and what came back as the task's result `{status, headers, body}`.

    http:
      method: POST
      url: https://api.example.com/orders/${params.order}
      headers: [{name: Accept, value: application/json}]
      query: [{name: dry, value: "${params.dry}"}]       # null: left out
      body: {lines: "${tasks.lines.result}"}            # text goes as it is, anything else as JSON
      expect: {status: [200, "2xx"], when: "${response.body.accepted}"}

`expect.when` sees `response`, which is what the result will be. Header names in it are lower case. A body is parsed
where its content type is JSON (`application/json`, `…+json`), and text otherwise. Redirects are followed, at most ten,
unless `followRedirects` is false; where one leads to another origin, no header of the task goes along. The same
`Idempotency-Key` is sent over all retries and restarts. User and password of a URL are sent as basic authorization.
A status that is not expected fails the attempt, and so does everything that breaks a connection: both are retried as
the task says.

Each hop is resolved once, all its addresses are judged by `runners.addresses`, and the connection goes to one of those
very addresses. No connection is kept: the next one is judged again, by the rules of the workflow that asks, and what a
server ties to a connection is never another tenant's. (Keeping them would save 0.4 of 0.8 ms on loopback.)
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpcore
import httpx

from flowweaver.core.events import Completed, Outcome
from flowweaver.core.phases import Reason
from flowweaver.errors import ExpressionError
from flowweaver.expressions import Scope, scope_of, truth
from flowweaver.policy import Policy
from flowweaver.ports import Attempt
from flowweaver.runners.addresses import SETTING, Address, AddressGuard
from flowweaver.runners.failures import Refused, failure_of
from flowweaver.runners.http_connection import (
    CONNECT_SECONDS,
    Dial,
    Gone,
    Patience,
    PinnedBackend,
    Resolve,
    Switch,
    dial,
    resolve,
)
from flowweaver.runners.http_failures import exchange_failure, failure, shown, unresolved
from flowweaver.runners.http_request import MOST_REDIRECTS, HttpRequest, build_request, redirected
from flowweaver.runners.http_response import excerpt, header_map, is_expected, parse_body, read_body, shortened
from flowweaver.runners.results import encode_result

DEFAULT_SECONDS = 300.0
"""So long an exchange may take where the task has no timeout of its own."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ANY_SUCCESS = ("2xx",)


class HttpRunner:
    """Runs `http` bodies within a policy; a `ports.Runner`, safe from any thread. Raises `UserError` for a policy whose
    `http_allow` can not be read. `resolve` and `dial` are how it reaches the network.
    """

    def __init__(self, policy: Policy, *, resolve: Resolve = resolve, dial: Dial = dial) -> None:
        self._guard = AddressGuard(policy)
        self._resolve = resolve
        self._dial = dial

    def __call__(self, attempt: Attempt) -> Outcome:
        """Send the request, follow redirects, give the result. Ends soon after the attempt is cancelled."""
        switch = Switch()
        attempt.cancellation.on_request(switch.cut)
        try:
            return Completed(self._result(attempt, switch))
        except Refused as exc:
            return failure_of(exc)
        finally:
            switch.release()

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        # One for all: reading the authorities takes longer than most requests. `SSL_CERT_FILE`, which is the
        # administrator's word, is heeded.
        return httpx.create_ssl_context()

    def _result(self, attempt: Attempt, switch: Switch) -> bytes:
        scope, body = scope_of(attempt), attempt.task.body
        request = build_request(body, scope, attempt.idempotency_key)
        timeout = attempt.task.timeout_seconds
        # A task's own timeout is the engine's to enforce, and this only frees the thread should that not happen.
        seconds = DEFAULT_SECONDS if timeout is None else timeout + CONNECT_SECONDS
        patience = Patience(deadline=time.monotonic() + seconds, switch=switch)
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._exchange(request, attempt, patience)
            if isinstance(answer, HttpRequest):
                request = answer
                continue
            return _checked(request, answer, body, scope)
        raise failure(
            f"{_what(request)} is the {MOST_REDIRECTS + 1}th redirect: it leads in a circle", "TooManyRedirects"
        )

    def _exchange(self, request: HttpRequest, attempt: Attempt, patience: Patience) -> HttpRequest | dict[str, Any]:
        addresses = self._reachable(request, attempt.run.namespace)
        try:
            with httpcore.HTTPConnection(
                origin=httpcore.Origin(request.url.raw_scheme, request.site.encode("ascii"), request.port),
                ssl_context=self._tls if request.url.scheme == "https" else None,
                network_backend=PinnedBackend(addresses, patience, self._dial),
            ) as connection:
                response = connection.handle_request(_on_the_wire(request))
                return _answer(request, response, attempt.task.body)
        except Exception as exc:  # whatever a foreign server provokes is this attempt's failure
            # A connection that we cut breaks in many ways, and all of them mean this.
            raise exchange_failure(_what(request), Gone() if patience.switch.off else exc) from exc

    def _reachable(self, request: HttpRequest, namespace: str) -> list[Address]:
        host = request.url.raw_host.decode("ascii")
        try:
            addresses = list(self._resolve(host, request.port))
        except OSError as exc:
            raise unresolved(_what(request), host, exc) from exc
        kind = self._guard.refusal(host, namespace, addresses)
        if kind is not None:
            raise Refused(
                Reason.ADDRESS_NOT_ALLOWED,
                f"{_what(request)} was not sent: {host} leads to {kind}, and http reaches public addresses only; "
                f"the administrator can allow the host or its network with {SETTING}",
            )
        return addresses


def _checked(request: HttpRequest, answer: dict[str, Any], body: Mapping[str, Any], scope: Scope) -> bytes:
    """The result as it is stored, once `expect.when` has been asked."""
    encoded = encode_result(answer, name="response")
    condition = (body.get("expect") or {}).get("when")
    if condition is None or _holds(condition, scope, answer):
        return encoded
    said = shortened(answer["body"])
    raise failure(f"{_what(request)} answered {answer['status']}, but expect.when is false: {said}", "HttpExpectation")


def _holds(condition: str, scope: Scope, response: Mapping[str, Any]) -> bool:
    try:
        return truth(condition, scope.adding(response=response), "http.expect.when")
    except ExpressionError as exc:
        raise Refused(Reason.EXPRESSION_ERROR, str(exc)) from exc


def _on_the_wire(request: HttpRequest) -> httpcore.Request:
    url = httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.site.encode("ascii"),
        port=request.port,
        target=request.url.raw_path,
    )
    return httpcore.Request(
        method=request.method,
        url=url,
        headers=request.wire_headers(),
        content=request.content,
        extensions={"timeout": {"connect": CONNECT_SECONDS}},
    )


def _answer(request: HttpRequest, response: httpcore.Response, body: Mapping[str, Any]) -> HttpRequest | dict[str, Any]:
    """The request that a redirect asks for, or the result. A status that is not expected is told without its body."""
    what, headers, status = _what(request), header_map(response.headers), response.status
    if status in _REDIRECTS and "location" in headers and body.get("followRedirects") is not False:
        return redirected(request, status, headers["location"].encode("latin-1").decode("utf-8", "replace"))
    expected = (body.get("expect") or {}).get("status") or _ANY_SUCCESS
    if not is_expected(status, expected):
        wanted = ", ".join(str(each) for each in expected)
        said = excerpt(headers, response.iter_stream())
        raise failure(f"{what} answered {status}, expected {wanted}{': ' if said else ''}{said}", "HttpStatus")
    content = read_body(what, headers, response.iter_stream())
    return {"status": status, "headers": headers, "body": parse_body(what, headers, content)}


def _what(request: HttpRequest) -> str:
    return f"{request.method} {shown(request.url)}"
