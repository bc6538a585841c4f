"""What the default install refuses: whoever may create a Workflow gains nothing of what the operator's pod may do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.workflows import condition, events_of, finish, workflow

pytestmark = pytest.mark.control_plane

ALLOWED = "127.0.0.2"  # the one address that an administrator has allowed, where redirects are tried


@contextmanager
def serving(host: str) -> Iterator[tuple[int, list[str]]]:
    """A server there that sends whoever asks for /to/URL to that URL; its port, and the paths that it was asked for."""
    heard: list[str] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            target = unquote(self.path.removeprefix("/to/")) if self.path.startswith("/to/") else ""
            self.send_response(302 if target else 200)
            if target:
                self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((host, 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port, heard
        finally:
            server.shutdown()
            thread.join()


def bodies_that_are_off(mark: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """By a name: the body, and the setting that its refusal must name. Each would leave a mark if it ran."""
    source = f"def main():\n    open({str(mark)!r}, 'w').close()\n"
    return {
        "shell-script": ({"shell": {"script": f"touch {mark}"}}, "--unsafe-bodies shell"),
        "shell-command": ({"shell": {"command": ["touch", str(mark)]}}, "--unsafe-bodies shell"),
        "python-source": ({"python": {"source": source}}, "--unsafe-bodies python.source"),
        "os-system": ({"python": {"function": "os:system", "args": {"command": f"touch {mark}"}}}, "--functions"),
        "thread": ({"python": {"function": "math:sqrt", "isolation": "Thread", "args": {"x": 4}}}, "--functions"),
    }


def test_each_body_that_is_off_is_refused_by_the_name_of_its_setting_and_never_runs(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    operator()
    mark = tmp_path / "it-ran"
    bodies = bodies_that_are_off(mark)
    kubectl.apply(*(workflow(name, {"name": "body", **body}) for name, (body, _) in bodies.items()))
    for name, (_, setting) in bodies.items():
        status = finish(kubectl, name)
        assert (status["phase"], condition(status, "Accepted")) == ("Failed", ("False", "BodyNotAllowed")), name
        message = next(found["message"] for found in status["conditions"] if found["type"] == "Accepted")
        assert setting in message, message
        assert "BodyNotAllowed" in events_of(kubectl, name)
    assert not mark.exists()


def test_a_thread_is_refused_also_where_its_function_is_allowed(
    operator: Callable[..., Operator], kubectl: Kubectl
) -> None:
    operator(functions=["math"])
    body = {"function": "math:sqrt", "isolation": "Thread"}
    kubectl.apply(workflow("thread", {"name": "body", "python": body}))
    assert condition(finish(kubectl, "thread"), "Accepted") == ("False", "BodyNotAllowed")


def addresses(port: int) -> dict[str, str]:
    """By a name: a URL that leads to where no task has any business.

    All are on this machine, so that nothing leaves it where the guard is broken. The other ranges (private, link-local,
    metadata) are refused by the same check, which `tests/security` holds against its whole table without a connection.
    """
    return {
        "loopback": f"http://127.0.0.1:{port}/",
        "loopback-by-name": f"http://localhost:{port}/",
        "decimal": f"http://{127 << 24 | 1}:{port}/",
        "hexadecimal": f"http://0x7f000001:{port}/",
        "octal": f"http://0177.0.0.1:{port}/",
        "unspecified": f"http://0.0.0.0:{port}/",
        "ipv6-loopback": f"http://[::1]:{port}/",
        "ipv6-mapped": f"http://[::ffff:127.0.0.1]:{port}/",
    }


def expected(urls: dict[str, str]) -> dict[str, str]:
    # What begins with a zero is no address in a URL: it goes nowhere at all.
    return dict.fromkeys(urls, "AddressNotAllowed") | {"octal": "TaskFailed"}


def refusals(kubectl: Kubectl, urls: dict[str, str]) -> dict[str, str]:
    """Why the one task of each workflow failed, by the workflow's name."""
    kubectl.apply(
        *(workflow(name, {"name": "call", "http": {"url": url}, "timeout": "20s"}) for name, url in urls.items())
    )
    return {name: finish(kubectl, name)["tasks"][0].get("reason", "") for name in urls}


def test_no_spelling_of_this_machine_is_reached(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator()
    with serving("127.0.0.1") as (port, heard):
        urls = addresses(port)
        assert refusals(kubectl, urls) == expected(urls)
    assert heard == []


def test_no_redirect_leads_there(operator: Callable[..., Operator], kubectl: Kubectl) -> None:
    operator(httpAllow=[f"{ALLOWED}/32"])
    with serving("127.0.0.1") as (port, heard), serving(ALLOWED) as (gate, passed):
        urls = {name: f"http://{ALLOWED}:{gate}/to/{url}" for name, url in addresses(port).items()}
        assert refusals(kubectl, urls) == expected(urls)
        assert len(passed) == len(urls), "each was redirected"
    assert heard == []
