"""`make demo`: the ETL of etl.yaml against a server that this starts, then the same command again.

The server answers the first request for the rates with 503, so that a retry is seen. The second run finds everything in
the state file: nothing runs again, and the server hears nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ORDERS = [
    {"id": 1, "customer": "Ada", "amount": 30.0, "currency": "EUR", "paid": True},
    {"id": 2, "customer": "Grace", "amount": 50.0, "currency": "USD", "paid": True},
    {"id": 3, "customer": "Edsger", "amount": 12.5, "currency": "EUR", "paid": False},
    {"id": 4, "customer": "Barbara", "amount": 1200.0, "currency": "JPY", "paid": True},
]
RATES = {"EUR": 1.0, "USD": 0.9, "JPY": 0.006}
MANIFEST = Path(__file__).with_name("etl.yaml")


class Source(ThreadingHTTPServer):
    """The orders and the rates, on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.heard: list[str] = []
        self.lock = threading.Lock()

    def hear(self, path: str) -> int:
        """Note a request; how often this path has been asked for."""
        with self.lock:
            self.heard.append(path)
            return self.heard.count(path)


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        times = self.server.hear(self.path)
        content = {"/orders.json": ORDERS, "/rates.json": RATES}.get(self.path)
        if content is None:
            self.answer(404, {"error": "not found"})
        elif self.path == "/rates.json" and times == 1:
            self.answer(503, {"error": "come back in a moment"})
        else:
            self.answer(200, content)

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """What is heard is counted, not printed."""


def flowweaver_run(*arguments: str) -> int:
    """Run the command as a user would, and show it."""
    arguments = ("run", os.path.relpath(MANIFEST), *arguments)
    print("\n$ " + shlex.join(["flowweaver", *arguments]), flush=True)
    return subprocess.run([sys.executable, "-m", "flowweaver", *arguments], check=False).returncode


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="flowweaver-demo-") as folder, Source() as source:
        threading.Thread(target=source.serve_forever, daemon=True).start()
        target = Path(folder, "orders.csv")
        parameters = {"source": f"http://127.0.0.1:{source.server_port}", "target": str(target)}
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={json.dumps(value)}")]
        try:
            return show(source, target, [*given, "--state", f"{folder}/etl.db"])
        finally:
            source.shutdown()


def show(source: Source, target: Path, arguments: list[str]) -> int:
    print("A server with orders and exchange rates is up; the first request for the rates will meet a 503.")
    if status := flowweaver_run(*arguments):
        return status
    heard = len(source.heard)
    print(f"\n$ cat {target}\n{target.read_text()}", end="")
    print("\nThe same command again:")
    if status := flowweaver_run(*arguments):
        return status
    print(f"\nThe server heard {heard} requests from the first run, {len(source.heard) - heard} from the second.")
    return 0 if len(source.heard) == heard else 1


if __name__ == "__main__":
    sys.exit(main())
