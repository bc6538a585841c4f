"""kopf as an informer: it lists and watches, we remember and queue. Nothing else of kopf is used.

It runs in a thread and an event loop of its own, under a supervisor: whatever ends it (a watch error, the CRD gone, an
API server that refuses at start) is logged, counted, and followed by a new start after a jittered delay. Nothing that
runs depends on it. Diff-base and progress storages store nothing: kopf's own would patch every object and refuse large
specs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import kopf
from kubernetes.client import Configuration

from flowweaver.operator.names import GROUP, PLURAL, VERSION

CREDENTIALS_LIFE = timedelta(minutes=5)
"""Projected tokens are rotated: kopf asks us for the newest this often."""

FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 10.0
SETTLED_SECONDS = 60.0
"""A watch that lived so long starts again without delay for what came before."""

SILENCE_SECONDS = 70.0
"""A stream without a byte for so long is dead: an API server sends each watch a bookmark a minute. It is asked for
again from where it was, so that nothing is missed."""

IDENTITY = "flowweaver-operator"
"""kopf names its operators for one another. Left alone it would ask for the user's and the host's names, and a pod's
user may have none."""

GOODBYE_SECONDS = 0.25
"""The connections of a watch that was stopped say their goodbyes of TLS in the same event loop, behind its back."""

Raw = Mapping[str, Any]
logger = logging.getLogger(__name__)


class EndlessBackoffs:
    """1, 2, 4 … seconds, at most `longest`, for ever, and from the start at each use. kopf gives up with its own."""

    def __init__(self, *, first: float = 0.5, longest: float = 10.0) -> None:
        self._first = first
        self._longest = longest

    def __iter__(self) -> Iterator[float]:
        """A fresh run of delays, each up to a quarter shorter."""
        delay = self._first
        while True:
            yield delay * random.uniform(0.75, 1.0)  # noqa: S311 - no secret
            delay = min(self._longest, delay * 2)


class _NoDiffBase(kopf.DiffBaseStorage):
    """Remembers nothing of a spec."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None: ...


class _NoProgress(kopf.ProgressStorage):
    """Remembers no progress."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None: ...

    def purge(self, **_: Any) -> None: ...

    def touch(self, **_: Any) -> None: ...

    def clear(self, *, essence: Any) -> Any:
        return essence


class Watcher:
    """Keeps a watch going until it is stopped."""

    def __init__(
        self,
        *,
        credentials: Configuration,
        namespaces: tuple[str, ...],
        check: Callable[[], None],
        seen: Callable[[str | None, Raw], None],
        restarted: Callable[[str], None],
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """`check` raises while there is nothing to watch (kopf would look once and never again); `seen` gets each
        event's type (None: from a list) and object; `restarted` the kind of each failure. Both are called in the
        watcher's thread and must return at once.
        """
        self._credentials = credentials
        self._namespaces = namespaces
        self._check = check
        self._seen = seen
        self._restarted = restarted
        self._silence_seconds = silence_seconds
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._supervise, name="flowweaver-watcher", daemon=True)
        self.started_at: float | None = None  # monotonic, of the watch that is going on; None: there is none
        self.failure = ""  # of the last watch
        self.event_at: float | None = None  # monotonic, of the last event

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End for good; idempotent."""
        self._stopping.set()
        self.restart()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def restart(self) -> None:
        """End the watch that is going on; the supervisor starts another one."""
        with self._lock:
            loop, stop = self._loop, self._stop
            if loop is not None and stop is not None:
                loop.call_soon_threadsafe(stop.set)

    # ------------------------------------------------------------------------------------------------------- inside

    def _supervise(self) -> None:
        delays = iter(EndlessBackoffs(first=FIRST_RESTART_SECONDS, longest=LONGEST_RESTART_SECONDS))
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._check()
                asyncio.run(self._watch())
                self.failure = "the watch has ended"
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - nothing may end the supervisor
                self.failure = f"{type(error).__name__}: {error}"
                self._restarted(type(error).__name__)
            self.started_at = None
            if self._stopping.is_set():
                return
            if time.monotonic() - began > SETTLED_SECONDS:
                delays = iter(EndlessBackoffs(first=FIRST_RESTART_SECONDS, longest=LONGEST_RESTART_SECONDS))
            delay = next(delays)
            logger.warning("the watch has ended and starts again in %.1f s: %s", delay, self.failure)
            self._stopping.wait(delay)

    async def _watch(self) -> None:
        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), stop
        try:
            if self._stopping.is_set():
                return
            self.started_at = time.monotonic()
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(self._silence_seconds),
                identity=cast("Any", IDENTITY),  # a name of its own type, which kopf does not export
                standalone=True,
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=stop,
            )
        finally:
            with self._lock:
                self._loop = self._stop = None
            await asyncio.sleep(GOODBYE_SECONDS)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.ConnectionInfo:
            return connection(self._credentials)

        @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
        async def event(event: Mapping[str, Any], **_: Any) -> None:
            self.event_at = time.monotonic()
            self._seen(event["type"], event["object"])

        return registry


def connection(found: Configuration) -> kopf.ConnectionInfo:
    """The same server and identity for kopf as for our own calls, tokens read afresh."""
    settings = found.auth_settings().get("BearerToken")
    scheme, _, token = str(settings["value"] if settings else "").partition(" ")
    return kopf.ConnectionInfo(
        server=str(found.host),
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        scheme=scheme.capitalize() or None if token else None,
        token=token or scheme or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=datetime.now(UTC) + CREDENTIALS_LIFE if settings else None,
    )


def _settings(silence_seconds: float) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = silence_seconds
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 1.0
    settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = EndlessBackoffs(longest=3.0)
    settings.persistence.consistency_timeout = 0
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.persistence.progress_storage = _NoProgress()
    settings.process.ultimate_exiting_timeout = None
    return settings
