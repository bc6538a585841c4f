"""A proxy between the operator and the API server that does to requests what networks and busy servers do.

It can be away, cut connections, hold them open in silence, be slow, and answer in the server's place. It never changes
what passes otherwise. All methods of `FaultProxy` may be called from the test's thread and return when done.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.cluster import processes
from tests.cluster.control_plane import Access

HOP_HEADERS = {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
REASONS = {409: "Conflict", 410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which requests are meant: every part that is set must fit. `Match()` is all of them."""

    method: str | None = None
    path: str = ""  # a regular expression, searched for
    watch: bool | None = None  # whether it is a watch

    def fits(self, request: Seen) -> bool:
        """Whether that request is meant."""
        return (
            self.method in {None, request.method}
            and re.search(self.path, request.path) is not None
            and self.watch in {None, request.watch}
        )


ALL = Match()
WATCHES = Match(watch=True)


@dataclass(slots=True, eq=False)
class Seen:
    """One request that came by, and what it was answered; 0 while there is no answer."""

    method: str
    path: str
    watch: bool
    status: int = 0
    transport: asyncio.Transport | None = field(default=None, repr=False)
    expired: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    stalled: bool = False


@dataclass(slots=True, eq=False)
class _Answer:
    match: Match
    status: int
    headers: dict[str, str]
    message: str
    left: int


class FaultProxy:
    """A server on loopback, with the certificate of the control plane behind it. Use it as a context manager.

    `url` is where it listens, the same after `refuse` and `serve`. `seen` has every request so far.
    """

    def __init__(self, access: Access) -> None:
        self.port = processes.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.seen: list[Seen] = []
        self._access = access
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._open: set[Seen] = set()
        self._answers: list[_Answer] = []
        self._held: list[Match] = []
        self._delays: list[tuple[Match, float]] = []
        self._changed = asyncio.Condition()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ------------------------------------------------------------------------------------------------- what a test says

    def answer(self, status: int, match: Match = ALL, *, times: int = 1, retry_after: int | None = None) -> None:
        """Answer the next `times` requests that fit with that status, in the API server's place."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        answer = _Answer(match, status, headers, f"answered {status} by a test", times)
        self._do(self._change(lambda: self._answers.append(answer)))

    def answers_left(self) -> int:
        """How many of the answers that were asked for nobody has got yet."""
        return sum(answer.left for answer in self._answers)

    @contextmanager
    def hold(self, match: Match = ALL) -> Iterator[None]:
        """In silence: nothing that fits gets a byte, also what is open already; connections stay up."""
        self._do(self._change(lambda: self._held.append(match)))
        try:
            yield
        finally:
            self._do(self._change(lambda: self._held.remove(match)))

    @contextmanager
    def delay(self, seconds: float, match: Match = ALL) -> Iterator[None]:
        """Let each request that fits wait before it is passed on."""
        self._do(self._change(lambda: self._delays.append((match, seconds))))
        try:
            yield
        finally:
            self._do(self._change(lambda: self._delays.remove((match, seconds))))

    def drop(self, match: Match = ALL) -> int:
        """Cut the connections of the requests that fit and have no end yet; gives how many."""
        return self._do(self._drop(match))

    def expire(self, match: Match = WATCHES) -> int:
        """End each open watch that fits with the event by which the server says that its history is gone (410)."""
        return self._do(self._expire(match))

    def stall(self, match: Match = WATCHES) -> int:
        """Let no further byte through of what is open now and fits; gives how many. The connections stay up, and what
        comes later passes.
        """
        return self._do(self._stall(match))

    def refuse(self) -> None:
        """Be away: every connection is cut, new ones are refused."""
        self._do(self._refuse())

    def serve(self) -> None:
        """Be there again, on the same port."""
        self._do(self._listen())

    @contextmanager
    def away(self) -> Iterator[None]:
        """Away while the block runs."""
        self.refuse()
        try:
            yield
        finally:
            self.serve()

    def open_requests(self, match: Match = ALL) -> int:
        """How many requests that fit have no end yet: watches, above all."""
        return sum(match.fits(seen) for seen in list(self._open))

    # -------------------------------------------------------------------------------------------------- in its own loop

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _start(self) -> None:
        trust = ssl.create_default_context(cafile=self._access.authority)
        self._upstream = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=None),
            auto_decompress=False,
            skip_auto_headers={"Accept", "Accept-Encoding", "User-Agent"},
        )
        self._server = web.Server(self._pass_on, handler_cancellation=True)
        await self._listen()

    async def _listen(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._access.server_certificate, self._access.server_key)
        # A goodbye of TLS that nobody answers must not keep a connection for long.
        self._listening = await self._loop.create_server(
            self._server, "127.0.0.1", self.port, ssl=context, reuse_address=True, ssl_shutdown_timeout=0.1
        )

    async def _refuse(self) -> None:
        self._listening.close()
        self._cut()

    def _cut(self) -> None:
        for connection in self._server.connections:
            if (transport := connection.transport) is not None:
                transport.abort()

    async def _stop(self) -> None:
        await self._change(self._held.clear)
        self._listening.close()
        for _ in range(3):  # some may be in the middle of their greeting or of their goodbye
            self._cut()
            await self._server.shutdown(0.1)
            await asyncio.sleep(0.15)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._upstream.close()
        for _ in range(20):  # what was aborted is closed by callbacks that the loop has yet to run
            await asyncio.sleep(0)

    async def _change(self, change: Callable[[], Any]) -> None:
        async with self._changed:
            change()
            self._changed.notify_all()

    async def _drop(self, match: Match) -> int:
        fitting = [seen for seen in self._open if match.fits(seen)]
        for seen in fitting:
            if seen.transport is not None:
                seen.transport.abort()
        return len(fitting)

    async def _expire(self, match: Match) -> int:
        fitting = [seen for seen in self._open if match.fits(seen)]
        for seen in fitting:
            seen.expired.set()
        return len(fitting)

    async def _stall(self, match: Match) -> int:
        fitting = [seen for seen in self._open if match.fits(seen)]
        for seen in fitting:
            seen.stalled = True
        return len(fitting)

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        watch = request.query.get("watch", "").lower() in {"1", "true"}
        transport = request.transport
        assert transport is None or isinstance(transport, asyncio.Transport), "a connection can be cut"
        seen = Seen(request.method, request.path, watch, transport=transport)
        self.seen.append(seen)
        self._open.add(seen)
        try:
            await self._wait_for_release(seen)
            for match, seconds in self._delays:
                if match.fits(seen):
                    await asyncio.sleep(seconds)
            for answer in self._answers:
                if answer.left and answer.match.fits(seen):
                    answer.left -= 1
                    return self._instead(seen, answer)
            return await self._relay(request, seen)
        finally:
            self._open.discard(seen)

    async def _wait_for_release(self, seen: Seen) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not any(match.fits(seen) for match in self._held))

    def _instead(self, seen: Seen, answer: _Answer) -> web.Response:
        seen.status = answer.status
        text = json.dumps(failure(answer.status, answer.message))
        return web.Response(
            status=answer.status, text=text, headers=answer.headers, content_type="application/json", charset="utf-8"
        )

    async def _relay(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_HEADERS]
        body = await request.read()
        async with self._upstream.request(
            request.method,
            self._access.url + request.raw_path,
            headers=headers,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            seen.status = answer.status
            response = web.StreamResponse(status=answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in HOP_HEADERS:
                    response.headers.add(name, value)
            if not seen.watch and "Content-Length" in answer.headers:
                response.content_length = int(answer.headers["Content-Length"])
            await response.prepare(request)
            await self._stream(answer, response, seen)
            return response

    async def _stream(self, answer: aiohttp.ClientResponse, response: web.StreamResponse, seen: Seen) -> None:
        expired = asyncio.ensure_future(seen.expired.wait())
        chunk = asyncio.ensure_future(answer.content.readany())
        try:
            while True:
                await asyncio.wait({chunk, expired}, return_when=asyncio.FIRST_COMPLETED)
                if seen.stalled:
                    await asyncio.wait({expired})
                if expired.done():
                    event = {"type": "ERROR", "object": failure(410, "too old resource version: 1 (2)")}
                    await response.write(json.dumps(event).encode() + b"\n")
                    return
                piece = chunk.result()
                if not piece:
                    return
                await self._wait_for_release(seen)
                await response.write(piece)
                chunk = asyncio.ensure_future(answer.content.readany())
        except aiohttp.ClientError:
            # The API server cut it in the middle: so does this.
            if seen.transport is not None:
                seen.transport.abort()
        finally:
            for waiting in (expired, chunk):
                waiting.cancel()
            await asyncio.gather(expired, chunk, return_exceptions=True)


def failure(status: int, message: str) -> dict[str, Any]:
    """The object by which an API server says that something failed."""
    reason = REASONS.get(status, "ServiceUnavailable")
    kind = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**kind, "message": message, "reason": reason, "code": status}
