"""One connection, to an address that has been judged.

A name is resolved once and what comes out is judged before it comes here; the socket goes to the very address that was
judged, whatever the name leads to by then, while the `Host` header and the TLS certificate are still those of the name.
Nothing here reads the environment: no proxy, no `.netrc`.

Two things end a connection from outside: the exchange's deadline, which every wait is cut to (a server that sends a
byte a minute does not hold a worker for ever), and the attempt's cancellation, which shuts the socket from another
thread.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeVar

import httpcore

from flowweaver.runners.addresses import Address, is_local_name

CONNECT_SECONDS = 10.0
"""So long one address may take to accept a connection, and again to agree on TLS."""

MOST_ATTEMPTED = 4
"""So many of a name's addresses are tried, one after the other, before the attempt fails."""

_A = TypeVar("_A")
_T = TypeVar("_T")

Resolve = Callable[[str, int], Sequence[Address]]
"""All addresses of a host, as the system would use them; raises `OSError` where it has none."""

Dial = Callable[[Address, int, "Switch", float], socket.socket]
"""A TCP connection to exactly this address and port within so many seconds; raises `OSError`."""


class Gone(Exception):
    """The attempt was cancelled while the exchange went on."""


class DeadlinePassed(Exception):
    """The exchange as a whole took longer than it may."""


class Switch:
    """Cuts whatever connection is open, from any thread and for good.

    It holds a duplicate of the descriptor, because wrapping a socket in TLS takes the original away, and because
    closing the one in use while another thread is about to shut it could hit a stranger that got the same number.
    """

    __slots__ = ("_lever", "_lock", "_off")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lever: socket.socket | None = None
        self._off = False

    @property
    def off(self) -> bool:
        """Whether it has been cut."""
        return self._off

    def hold(self, connection: socket.socket) -> None:
        """From now on this is the connection to cut; at once where it is too late."""
        with self._lock:
            self._release()
            self._lever = connection.dup()
            if self._off:
                self._pull()

    def release(self) -> None:
        """There is nothing to cut now. Idempotent."""
        with self._lock:
            self._release()

    def cut(self) -> None:
        """Shut the connection: whoever reads from it or waits for it to open comes back at once. Idempotent."""
        with self._lock:
            self._off = True
            self._pull()

    def _pull(self) -> None:
        if self._lever is not None:
            with contextlib.suppress(OSError):  # not connected yet, or closed by the other side
                self._lever.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._lever is not None:
            self._lever.close()
            self._lever = None


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of `host`, in the order in which the system would try them; raises `OSError`.

    Whatever spelling the system takes for an address (`2130706433`, `0x7f.1`) comes out as the address that it is.
    Names below `localhost` are this machine's, and no name server is asked for them (RFC 6761).
    """
    host = "localhost" if is_local_name(host) else host
    found = socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(ip_address(str(answer[4][0]).partition("%")[0]) for answer in found))


def dial(address: Address, port: int, switch: Switch, timeout_seconds: float) -> socket.socket:
    """Connect to that very address; the switch can cut it short. Nothing is resolved here."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        switch.hold(connection)
        connection.settimeout(timeout_seconds)
        connection.connect((str(address), port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an exchange may take, all redirects included, and what ends it before."""

    deadline: float  # on the monotonic clock
    switch: Switch

    def remaining(self, at_most: float | None = None) -> float:
        """Seconds that the next wait may take; raises `DeadlinePassed` or `Gone` where there are none."""
        self.check()
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed
        return left if at_most is None else min(left, at_most)

    def check(self) -> None:
        """Raise `Gone` if nobody waits any more."""
        if self.switch.off:
            raise Gone


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to the addresses that it was made with, whatever host it is asked for."""

    def __init__(self, addresses: Sequence[Address], patience: Patience, dial: Dial) -> None:
        self._addresses = addresses
        self._patience = patience
        self._dial = dial

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the name says nothing any more: its addresses were judged, and are tried
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - never asked for
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 - never asked for
    ) -> httpcore.NetworkStream:
        """The first address that accepts; raises what the last one raised."""
        last: OSError | None = None
        for address in self._addresses[:MOST_ATTEMPTED]:
            seconds = self._patience.remaining(timeout)
            try:
                return PinnedStream(self._dial(address, port, self._patience.switch, seconds), self._patience)
            except OSError as exc:
                last = exc
        self._patience.check()
        raise last or OSError("there is no address to connect to")


class PinnedStream(httpcore.NetworkStream):
    """An open connection whose every wait ends by the deadline and by cancellation."""

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._socket = connection
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(self._patience.remaining(timeout))
        received = self._waited(self._socket.recv, max_bytes)
        self._patience.check()
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        while rest:
            self._socket.settimeout(self._patience.remaining(timeout))
            try:
                rest = rest[self._waited(self._socket.send, rest) :]
            except OSError as exc:
                self._patience.check()
                # The server may have answered before it closed: with this exception httpcore reads what it said.
                raise httpcore.WriteError(str(exc)) from exc

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._socket.settimeout(self._patience.remaining(timeout))
        try:
            wrapped = self._waited(partial(ssl_context.wrap_socket, server_hostname=server_hostname), self._socket)
        except BaseException:
            self.close()
            raise
        return PinnedStream(wrapped, self._patience)

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        return self._socket if info == "socket" else None

    def _waited(self, wait: Callable[[_A], _T], argument: _A) -> _T:
        try:
            return wait(argument)
        except TimeoutError:
            self._patience.remaining()  # the deadline, or nobody waits: that is the reason then
            raise
