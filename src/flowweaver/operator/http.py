"""`/healthz`, `/readyz` and `/metrics` on one port, in a thread and an event loop of their own.

Nothing here waits for the engine or takes a lock that a turn holds: a probe that hangs would have the pod killed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from flowweaver.errors import UserError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
logger = logging.getLogger(__name__)


class HttpServer:
    """Serves until it is stopped."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        healthy: Callable[[], Mapping[str, str]],
        ready: Callable[[], Mapping[str, str]],
        metrics: Callable[[], bytes],
    ) -> None:
        """`healthy` and `ready` give what is wrong, by name; nothing where all is well. An empty host is every
        address.
        """
        self._host = host or None
        self._wanted_port = port
        self._healthy = healthy
        self._ready = ready
        self._metrics = metrics
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="flowweaver-http", daemon=True)
        self.port = 0

    def start(self) -> None:
        """Listen; raises `UserError` where the address can not be had."""
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise UserError(f"--http: can not listen on {self._host or ''}:{self._wanted_port}: {self._failure}")

    def stop(self) -> None:
        """End; idempotent."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5.0)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application()
        application.router.add_get("/healthz", self._answer(self._healthy))
        application.router.add_get("/readyz", self._answer(self._ready))
        application.router.add_get("/metrics", self._expose)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._wanted_port).start()
            self.port = int(runner.addresses[0][1])
            logger.info("health, readiness and metrics are served on port %d", self.port)
            self._started.set()
            await self._stop.wait()
        except OSError as error:
            self._failure = error
            self._started.set()
        finally:
            await runner.cleanup()

    @staticmethod
    def _answer(check: Callable[[], Mapping[str, str]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.Response:
            del request
            wrong = check()
            text = "".join(f"{name}: {what}\n" for name, what in wrong.items()) or "ok\n"
            return web.Response(text=text, status=503 if wrong else 200)

        return answer

    async def _expose(self, request: web.Request) -> web.Response:
        del request
        body = await asyncio.get_running_loop().run_in_executor(None, self._metrics)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
