"""Real HTTP servers on loopback, and a network whose names and addresses lead to them.

Tests of the `http` body and of its guard need names and addresses that are not there to be had: `93.184.216.34`, the
metadata service, a name that changes its address. So what a name resolves to is given, each connection that the runner
makes is written down with the address it was meant for, and all of them end at servers that really listen.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from flowweaver.core.events import AttemptId, Completed, Failed, Outcome
from flowweaver.core.plan import RunPlan, TaskPlan
from flowweaver.policy import Policy
from flowweaver.ports import Attempt
from flowweaver.runners import http_connection
from flowweaver.runners.http import HttpRunner

PUBLIC = "93.184.216.34"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as a server saw it; header names lower case, one that came twice joined by a comma."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answers. A body is sent as it is; without `framed` its length is told by closing."""

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    framed: bool = True

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Reply:
        return cls(status, json.dumps(value).encode(), [("Content-Type", "application/json")])

    @classmethod
    def redirect(cls, location: str, status: int = 302) -> Reply:
        return cls(status, headers=[("Location", location.encode().decode("latin-1"))])


@dataclass(slots=True)
class Site:
    """A server that listens. `requests` has what reached it."""

    port: int
    scheme: str = "http"
    requests: list[Received] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)  # what clients named in TLS

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


Answer = Callable[[Received], Reply | None]


@contextlib.contextmanager
def serving(answer: Answer | Reply, tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    """A server that answers so; None from `answer` closes the connection without a word."""
    site = Site(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            headers: dict[str, str] = {}
            for name, value in self.headers.items():
                before = headers.get(name.lower())
                headers[name.lower()] = value if before is None else f"{before}, {value}"
            received = Received(self.command, self.path, headers, self.rfile.read(length))
            site.requests.append(received)
            reply = answer if isinstance(answer, Reply) else answer(received)
            self.close_connection = True
            if reply is None:
                return
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            if reply.framed:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):  # the runner has had enough
                    self.wfile.write(reply.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that goes away is what some tests are about

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: site.names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        site.scheme = "https"
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def speaking(say: Callable[[socket.socket], None]) -> Iterator[Site]:
    """A server that does with each connection, on a thread of its own, what no HTTP server would."""
    site = Site(0)
    listener = socket.create_server(("127.0.0.1", 0))
    site.port = listener.getsockname()[1]

    def converse(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            say(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=converse, args=(listener.accept()[0],)).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield site
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


@dataclass(slots=True)
class Network:
    """Where names and addresses lead. Give `resolve` and `dial` to a runner.

    `names` has for each name the answers that a resolver gives, one after the other, the last one again and again.
    Every connection goes to the port of the server that `sites` has for its address, else to the port that it names.
    """

    names: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    sites: Mapping[str, Site] = field(default_factory=dict)
    elsewhere: Site | None = None  # where all other addresses lead; None: they do not answer
    asked: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)

    def resolve(self, host: str, port: int) -> list[http_connection.Address]:
        self.asked.append(host)
        if host not in self.names:
            return http_connection.resolve(host, port)
        answers = self.names[host]
        answer = answers[min(self.asked.count(host), len(answers)) - 1]
        return [ip_address(each) for each in answer]

    def dial(self, address: http_connection.Address, port: int, switch: http_connection.Switch, seconds: float) -> Any:
        self.dialled.append(str(address))
        site = self.sites.get(str(address), self.elsewhere)
        if site is None:
            raise ConnectionRefusedError(111, "Connection refused")
        return http_connection.dial(ip_address("127.0.0.1"), site.port, switch, seconds)

    def runner(self, policy: Policy) -> HttpRunner:
        return HttpRunner(policy, resolve=self.resolve, dial=self.dial)


def attempt_of(body: Mapping[str, Any], *, namespace: str = "team", **task: Any) -> Attempt:
    """An attempt of a task that has this `http` body."""
    plan = TaskPlan(name="fetch", kind="http", body=body, **task)
    run = RunPlan(tasks=(plan,), name="flow", namespace=namespace, uid="0d9f", params={"who": "Ada", "none": None})
    return Attempt(id=AttemptId(1, 0, 1), task=plan, run=run, run_started_at=0.0)


def result_of(outcome: Outcome) -> Any:
    """The result of an attempt that completed."""
    assert isinstance(outcome, Completed), outcome
    return json.loads(outcome.result)


def failure_of(outcome: Outcome) -> Failed:
    """The failure of an attempt that failed."""
    assert isinstance(outcome, Failed), outcome
    return outcome
