"""The port of a `WorkflowRunner`: whether it is alive, and numbers for Prometheus. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
PATIENCE_SECONDS = 5.0
"""So long a client may keep the one thread waiting for its next byte."""


class Answer(NamedTuple):
    """What a path answers."""

    status: int
    content_type: str
    text: str


class Metric(NamedTuple):
    """One family of numbers, by the labels of each."""

    name: str
    kind: str  # "counter" or "gauge"
    help: str
    values: Iterable[tuple[Mapping[str, str], float]]


def exposition(metrics: Iterable[Metric]) -> str:
    """The numbers in Prometheus' text format."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.values:
            named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{metric.name}{{{named}}} {value!r}" if named else f"{metric.name} {value!r}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def served(host: str, port: int, paths: Mapping[str, Callable[[], Answer]]) -> Iterator[int]:
    """Answer GET requests of these paths from a thread of its own; gives the port. Raises `OSError`."""
    server = _Server(host, port, paths)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="flowweaver-http", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join(PATIENCE_SECONDS)
        server.server_close()


class _Server(HTTPServer):
    def __init__(self, host: str, port: int, paths: Mapping[str, Callable[[], Answer]]) -> None:
        self.paths = paths
        if ":" in host:
            import socket

            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without asking a name server who this is, as the library does."""
        import socketserver

        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        """Wait so long for each byte."""
        super().setup()
        self.connection.settimeout(PATIENCE_SECONDS)

    def do_GET(self) -> None:
        """Answer, and close the connection."""
        path = self.path.partition("?")[0]
        found = self.server.paths.get(path)
        if found is None:
            self._send(Answer(404, TEXT_TYPE, f"there are {', '.join(self.server.paths)}\n"))
        else:
            self._send(found())

    def do_HEAD(self) -> None:
        """The same without the text."""
        self.do_GET()

    def _send(self, answer: Answer) -> None:
        content = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def version_string(self) -> str:
        """Who answers, without versions."""
        return "flowweaver"

    def log_message(self, *_: object) -> None:
        """Requests are no news."""
