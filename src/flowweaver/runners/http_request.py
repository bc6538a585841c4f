"""The request that an `http` body describes, and the one that follows from a redirect. Nothing is sent here.

One parser reads a URL, and what it found is what is resolved, judged, connected to and named in `Host`: two readings of
one text are how guards are walked around.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from flowweaver.core.phases import Reason
from flowweaver.expressions import Scope
from flowweaver.runners.addresses import canonical_name, is_host
from flowweaver.runners.failures import Refused
from flowweaver.runners.fields import rendered
from flowweaver.runners.http_failures import one_line

Headers = tuple[tuple[str, str], ...]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_REDIRECTS = 10

#: Sent with every request. `gzip` alone, because it is what we can unpack within a bound.
OWN_HEADERS: Headers = (("accept", "*/*"), ("accept-encoding", "gzip"), ("user-agent", "flowweaver"))

#: What frames the message, or says which site is meant: ours, or one request could be made to be read as two.
_NOT_GIVEN = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. `url` has neither user nor fragment; names in `headers` are lower case, what frames is not there."""

    method: str
    url: httpx.URL
    headers: Headers
    content: bytes | None = None

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def site(self) -> str:
        """The host as the server and its certificate know it."""
        return canonical_name(self.url.raw_host.decode("ascii"))

    @property
    def origin(self) -> tuple[str, str, int]:
        """Whom credentials may be sent to."""
        return (self.url.scheme, self.site, self.port)

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers as they are sent."""
        site = f"[{self.site}]" if ":" in self.site else self.site
        host = site if self.url.port is None else f"{site}:{self.url.port}"
        framing = [("host", host), ("connection", "close")]
        if self.content is not None or self.method in {"POST", "PUT", "PATCH"}:
            framing.append(("content-length", str(len(self.content or b""))))
        return [(name.encode("ascii"), value.encode()) for name, value in (*framing, *self.headers)]


def build_request(body: Mapping[str, Any], scope: Scope, idempotency_key: str) -> HttpRequest:
    """What the body asks for; raises `Refused` with the field and the fix."""
    method = str(body.get("method") or "GET").upper()
    if method not in METHODS:
        raise _wrong("http.method", f'"{one_line(method)}" is none of {", ".join(sorted(METHODS))}')
    given_url = _text(rendered(body.get("url"), scope, "http.url"), "http.url")
    query = _query(body.get("query") or (), scope)
    url = _parse(given_url.strip(), query, "http.url")
    headers = _given_headers(body.get("headers") or (), scope)
    content, content_type = _content(body, scope)
    ours = dict(OWN_HEADERS) | {"idempotency-key": quote(idempotency_key, safe=":/")} | content_type | _basic(url)
    given = {name for name, _ in headers}
    return HttpRequest(
        method=method,
        url=_plain(url),
        headers=(*((name, value) for name, value in ours.items() if name not in given), *headers),
        content=content,
    )


def redirected(request: HttpRequest, status: int, location: str) -> HttpRequest:
    """The request that follows, by RFC 9110 section 15.4; raises `Refused` where the location can not be followed.

    Where the origin changes, nothing that was meant for the first one goes along: of the headers only our own, and what
    describes a body that is sent again.
    """
    try:
        following = replace(request, url=_plain(_checked(request.url.join(location), "the redirect")))
    except httpx.InvalidURL as exc:
        raise _wrong("the redirect", "leads to no valid URL") from exc
    if (status == 303 and request.method != "HEAD") or (status in {301, 302} and request.method == "POST"):
        kept = tuple((name, value) for name, value in request.headers if not name.startswith("content-"))
        following = replace(following, method="GET", content=None, headers=kept)
    if following.origin != request.origin:
        described = tuple(pair for pair in following.headers if pair[0] == "content-type")
        following = replace(following, headers=(*OWN_HEADERS, *described))
    return following


# ------------------------------------------------------------------------------------------------------------- URLs


def _parse(text: str, query: str, path: str) -> httpx.URL:
    # What the parser says of a text is not passed on: it quotes what may be part of a password.
    try:
        url = _checked(httpx.URL(text), path)
        written = url.query.decode("ascii")
        return url.copy_with(query="&".join(filter(None, (written, query))).encode("ascii")) if query else url
    except httpx.InvalidURL as exc:
        raise _wrong(path, "is no valid URL: write https://host/path, special characters percent-encoded") from exc


def _checked(url: httpx.URL, path: str) -> httpx.URL:
    if url.scheme not in {"http", "https"}:
        raise _wrong(path, f'has the scheme "{one_line(url.scheme)}": only http and https are spoken')
    host = url.raw_host.decode("ascii")
    if not host:
        raise _wrong(path, "names no host: write https://host/path")
    if not is_host(host):
        raise _wrong(path, f'has the host "{one_line(host)[:100]}", which is neither a host name nor an address')
    if url.port is not None and not 0 < url.port < 65536:
        raise _wrong(path, f"has the port {url.port}: ports are 1 to 65535")
    return url


def _plain(url: httpx.URL) -> httpx.URL:
    return url.copy_with(userinfo=b"", fragment=None)


def _query(query: Iterable[Mapping[str, Any]], scope: Scope) -> str:
    pairs = []
    for index, item in enumerate(query):
        path = f"http.query[{index}].value"
        value = rendered(item.get("value", ""), scope, path)
        if value is not None:  # a parameter without a value is left out
            pairs.append((str(item["name"]), _text(value, path)))
    return urlencode(pairs)


def _basic(url: httpx.URL) -> dict[str, str]:
    if not url.userinfo:
        return {}
    return {"authorization": "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")}


# ------------------------------------------------------------------------------------------------ headers and content


def _given_headers(headers: Iterable[Mapping[str, Any]], scope: Scope) -> Headers:
    pairs = []
    for index, item in enumerate(headers):
        path = f"http.headers[{index}]"
        name = str(item.get("name")).lower()
        if not _TOKEN.fullmatch(name):
            raise _wrong(f"{path}.name", "is no header name: letters, digits and hyphens")
        if name in _NOT_GIVEN or name.startswith("proxy-"):
            raise _wrong(f"{path}.name", f'"{name}" follows from the request itself and can not be given: leave it out')
        value = rendered(item.get("value", ""), scope, f"{path}.value")
        if value is None:  # a header without a value is left out
            continue
        text = _text(value, f"{path}.value").strip(" \t")
        if _CONTROL.search(text):
            raise _wrong(f"{path}.value", "holds a line break or another control character")
        pairs.append((name, text))
    return tuple(pairs)


def _content(body: Mapping[str, Any], scope: Scope) -> tuple[bytes | None, dict[str, str]]:
    if "body" not in body:  # `body: null` is one: the JSON value
        return None, {}
    value = rendered(body["body"], scope, "http.body")
    if isinstance(value, str):
        return value.encode("utf-8", "replace"), {"content-type": "text/plain; charset=utf-8"}
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace"), {"content-type": "application/json"}


def _text(value: Any, path: str) -> str:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            kind = {dict: "a map", list: "a list", type(None): "null"}.get(type(value), type(value).__name__)
            raise _wrong(path, f"is {kind}, and text is needed")


def _wrong(path: str, what: str) -> Refused:
    return Refused(Reason.TASK_FAILED, f"{path} {what}", error_type="InvalidRequest")
