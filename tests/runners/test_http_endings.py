"""An `http` attempt ends when nobody waits for it any more, and by its deadline; TLS is verified for the name."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowweaver.policy import Policy
from flowweaver.runners import http, http_connection
from flowweaver.runners.http import HttpRunner
from tests.security.sites import (
    PUBLIC,
    Network,
    Received,
    Reply,
    Site,
    attempt_of,
    failure_of,
    result_of,
    serving,
    speaking,
)

LOCAL = Policy(http_allow=("127.0.0.1",))
LONG = 60.0  # nothing here takes that long; a test that does has failed


def cancelled_when(reached: threading.Event, url: str, runner: HttpRunner) -> str:
    """The error of an attempt that is cancelled once `reached` is set."""
    attempt = attempt_of({"url": url})
    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.append(runner(attempt)), daemon=True)
    thread.start()
    assert reached.wait(LONG)
    attempt.cancellation.request()
    thread.join(LONG)
    assert not thread.is_alive()
    return failure_of(outcomes[0]).error_type


def test_a_cancelled_attempt_ends_while_the_server_is_thinking() -> None:
    reached, done = threading.Event(), threading.Event()

    def thinking(_: Received) -> Reply:
        reached.set()
        done.wait(LONG)
        return Reply()

    with serving(thinking) as site:
        try:
            assert cancelled_when(reached, site.url(), HttpRunner(LOCAL)) == "Cancelled"
        finally:
            done.set()


def test_a_cancelled_attempt_ends_in_the_middle_of_a_body() -> None:
    reached, done = threading.Event(), threading.Event()

    def dribbling(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbeginning")
        reached.set()
        done.wait(LONG)

    with speaking(dribbling) as site:
        try:
            assert cancelled_when(reached, site.url(), HttpRunner(LOCAL)) == "Cancelled"
        finally:
            done.set()


def test_a_cancelled_attempt_ends_while_tls_is_agreed_on() -> None:
    reached, done = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        connection.recv(1)
        reached.set()
        done.wait(LONG)

    with speaking(silent) as site:
        try:
            url = site.url().replace("http:", "https:")
            assert cancelled_when(reached, url, HttpRunner(LOCAL)) == "Cancelled"
        finally:
            done.set()


def test_a_cancelled_attempt_ends_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 2 * LONG)
    reached = threading.Event()

    def dial(*arguments: Any) -> socket.socket:
        reached.set()
        return http_connection.dial(*arguments)

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        first.connect(listener.getsockname())  # nobody accepts it, and there is no place for a second one
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert cancelled_when(reached, url, HttpRunner(LOCAL, dial=dial)) == "Cancelled"


def test_an_attempt_that_was_cancelled_before_sends_nothing() -> None:
    attempt = attempt_of({"url": "http://public.example/"})
    attempt.cancellation.request()
    with serving(Reply()) as site:
        network = Network(names={"public.example": [[PUBLIC]]}, sites={PUBLIC: site})
        assert failure_of(network.runner(Policy())(attempt)).error_type == "Cancelled"

    assert site.requests == []


def test_cancelling_an_attempt_that_has_ended_touches_no_other_connection() -> None:
    with serving(Reply()) as site:
        attempt = attempt_of({"url": site.url()})
        result_of(HttpRunner(LOCAL)(attempt))
        with socket.create_connection(("127.0.0.1", site.port)) as stranger:  # may have got the same descriptor
            attempt.cancellation.request()
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stranger.recv(4) == b"HTTP"


def test_a_connection_that_is_made_after_the_cancellation_is_cut_at_once() -> None:
    switch = http_connection.Switch()
    switch.cut()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        switch.hold(ours)
        assert theirs.recv(1) == b""
    switch.release()


def dribble(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        threading.Event().wait(0.01)


def stay_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("behave", [dribble, stay_silent])
def test_an_exchange_ends_by_its_deadline_however_little_the_server_sends(
    behave: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "DEFAULT_SECONDS", 0.2)
    with speaking(behave) as site:
        failure = failure_of(HttpRunner(LOCAL)(attempt_of({"url": site.url()})))

    assert (failure.error_type, failure.retryable) == ("Timeout", True)
    assert failure.message.startswith(f"GET http://127.0.0.1:{site.port}/ took too long")


def test_redirects_do_not_prolong_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "DEFAULT_SECONDS", 0.5)
    monkeypatch.setattr(http, "MOST_REDIRECTS", 10_000_000)
    with serving(Reply.redirect("/again")) as site:
        assert failure_of(HttpRunner(LOCAL)(attempt_of({"url": site.url()}))).error_type == "Timeout"


def test_a_connection_that_does_not_come_about_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        first.connect(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        failure = failure_of(HttpRunner(LOCAL)(attempt_of({"url": url})))

    assert failure.error_type == "TimeoutError"
    assert "no connection within" in failure.message


# ------------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of `server.test` that vouches for itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "server.crt", folder / "server.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=DNS:server.test"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(Reply.json("secure"), tls=context) as site:
        yield site


def over_tls(site: Site, host: str) -> Any:
    network = Network(names={host: [[PUBLIC]]}, sites={PUBLIC: site})
    return network.runner(Policy())(attempt_of({"url": f"https://{host}/"}))


def test_an_ipv6_address_is_named_in_brackets() -> None:
    with serving(Reply()) as site:
        network = Network(sites={"2606:4700::1111": site})
        result_of(network.runner(Policy())(attempt_of({"url": "http://[2606:4700::1111]:8080/"})))

    assert site.requests[0].headers["host"] == "[2606:4700::1111]:8080"


@pytest.mark.parametrize("host", ["server.test", "server.test."])
def test_tls_is_agreed_on_and_verified_for_the_name_though_the_address_is_pinned(
    secure: Site, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    assert result_of(over_tls(secure, host))["body"] == "secure"
    assert secure.names == ["server.test"]
    assert secure.requests[0].headers["host"] == "server.test"


def test_a_certificate_of_another_name_is_refused(
    secure: Site, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    failure = failure_of(over_tls(secure, "other.test"))

    assert failure.error_type == "SSLCertVerificationError"
    assert "the server's certificate is not trusted (Hostname mismatch" in failure.message
    assert secure.requests == []


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    assert failure_of(over_tls(secure, "server.test")).error_type == "SSLCertVerificationError"
    assert secure.requests == []


def test_a_server_without_tls_is_told() -> None:
    with serving(Reply()) as site:
        failure = failure_of(HttpRunner(LOCAL)(attempt_of({"url": site.url().replace("http:", "https:")})))

    assert failure.error_type == "SSLError"
    assert "no TLS connection came about" in failure.message
