"""The operator as a process: what is started in which order, and how it ends.

Order of the start: the state file and its lock, what an earlier life left behind, the probes, the Lease, the engine,
and only then the watch: nothing that runs depends on the API server. At SIGTERM: no new starts, running attempts may
end within the grace period, what they did is reported, then everything is let go; at a second SIGTERM the process ends
at once.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack

from flowweaver.assembly import Assembly
from flowweaver.engine import SystemClock
from flowweaver.errors import StoreCorrupt
from flowweaver.operator.api import Api, configuration, own_namespace
from flowweaver.operator.backups import Backups, keep_older_layout
from flowweaver.operator.composing import Composer
from flowweaver.operator.gauges import watch_cluster, watch_queue, watch_readiness, watch_runs, watch_store
from flowweaver.operator.http import HttpServer
from flowweaver.operator.lease import Lease
from flowweaver.operator.live_stores import LiveStores
from flowweaver.operator.metering import RunMeter
from flowweaver.operator.notices import Listener
from flowweaver.operator.objects import ObjectCache, parse
from flowweaver.operator.older_volumes import hold_back_until
from flowweaver.operator.opening import open_engine
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.reconciler import Reconciler
from flowweaver.operator.recorder import Recorder
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.run_lines import tell_of_damage, tell_of_resumed
from flowweaver.operator.settings import Settings
from flowweaver.operator.shielding import shield_this_process
from flowweaver.operator.status_writer import StatusWriter
from flowweaver.operator.store_watch import StoreWatch
from flowweaver.operator.surroundings import Surroundings
from flowweaver.operator.sweeps import Sweeper
from flowweaver.operator.traces import Tracing
from flowweaver.operator.watcher import Raw, Watcher
from flowweaver.stores import SQLiteStore
from flowweaver.stores.soundness import note_damage
from flowweaver.telemetry import logs
from flowweaver.telemetry.metrics import Metrics

SWITCH_INTERVAL_SECONDS = 0.0005
"""How long a thread may keep the interpreter: beside one that computes, each SQL call waits an interval."""

HEARTBEAT_LIMIT_SECONDS = 60.0
FLUSH_SECONDS = 10.0
logger = logging.getLogger(__name__)


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; gives the exit status: 0 after a clean end, 1 where it could not go on.

    Raises `FlowWeaverError` where it can not begin (a setting is wrong, another process holds the state file, …).
    """
    logs.set_up(style=settings.log_format, level=settings.log_level, levels=settings.log_levels)
    shield_this_process()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    stopping = threading.Event()
    _stop_on_signals(stopping)
    metrics = Metrics()
    if settings.backup_folder is not None:
        keep_older_layout(settings.state, settings.backup_folder, now=time.time())
    with open_engine(settings, stopping, metrics) as assembly:
        return 0 if assembly is None else Operator(settings, assembly, metrics).run(stopping)


class Operator:
    """Everything around one engine."""

    def __init__(self, settings: Settings, assembly: Assembly, metrics: Metrics) -> None:
        self._settings = settings
        assert isinstance(assembly.store, SQLiteStore)
        self._engine, self._store = assembly.engine, assembly.store
        self._metrics = metrics
        self._engine.on_store_failure(metrics.store_failed)
        self._store_watch = StoreWatch(self._store, self._engine, failed=metrics.store_failed)
        self._engine_started = False
        self._accepting = False
        self._clock = SystemClock()
        self._tracing = Tracing(settings, self._store, metrics)
        credentials = configuration()
        self._api = Api(credentials, meter=metrics, connections=12)  # one for each thread that calls it
        self._cache = ObjectCache()
        self._queue = WorkQueue(meter=metrics)
        self._runs = RunIndex(self._store.list_runs(tell_of_damage))
        store = self._store.position().id
        name = settings.own_name or socket.gethostname()
        composer = Composer(engine=self._engine, api=self._api, cache=self._cache, clock=self._clock)
        self._writer = StatusWriter(compose=composer.compose, send=composer.send, meter=metrics)
        self._recorder = Recorder(self._api, instance=name, posted=metrics.event_posted)
        self._lease = Lease(
            self._api,
            namespace=settings.own_namespace or own_namespace(),
            instance=settings.instance,
            name=name,
            store=store,
            is_pod=bool(settings.own_name),
        )
        self._live = LiveStores(store)
        self._reconciler = Reconciler(self._surroundings())
        self._watcher = Watcher(
            credentials=credentials,
            namespaces=settings.namespaces,
            check=self._api.require_kind,
            seen=self._seen,
            restarted=self._watch_failed,
        )
        self._sweeper = self._make_sweeper()
        self._backups = self._make_backups(store)
        self._http = self._make_http()
        self._engine.add_listener(
            Listener(runs=self._runs, writer=self._writer, queue=self._queue, recorder=self._recorder)
        )
        self._add_gauges()

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            instance=self._settings.instance,
            namespaces=self._settings.namespaces,
            adopt=self._settings.adopt,
            policy=self._settings.policy(),
            store=self._store,
            engine=self._engine,
            api=self._api,
            cache=self._cache,
            runs=self._runs,
            live=self._live,
            writer=self._writer,
            recorder=self._recorder,
            queue=self._queue,
            clock=self._clock,
            metrics=self._metrics,
            store_trouble=self._store_trouble,
        )

    def _make_sweeper(self) -> Sweeper:
        return Sweeper(
            api=self._api,
            namespaces=self._settings.namespaces,
            cache=self._cache,
            runs=self._runs,
            queue=self._queue,
            watcher=self._watcher,
            drifted=self._metrics.drifted,
        )

    def _make_backups(self, store: str) -> Backups | None:
        settings = self._settings
        if settings.backup_folder is None:
            return None
        return Backups(
            state=settings.state,
            store=store,
            folder=settings.backup_folder,
            every_seconds=settings.backup_every,
            keep=settings.backup_keep,
            meter=self._metrics,
        )

    def _make_http(self) -> HttpServer:
        host, port = self._settings.http_address()
        return HttpServer(
            host=host, port=port, healthy=self.unhealthy, ready=self.unready, metrics=self._metrics.exposition
        )

    def run(self, stopping: threading.Event) -> int:
        """Start everything, wait, stop everything; gives the exit status."""
        with ExitStack() as stack:
            self._http.start()
            stack.callback(self._http.stop)
            stack.callback(self._api.close)
            self._lease.wait(stopping)
            if stopping.is_set():
                return 0
            self._live.replaced(self._lease.predecessor)
            self._lease.start()
            stack.callback(self._lease.stop)
            if not self._settings.adopt:
                hold_back_until(stopping, self._store, self._api, self._runs)
            self._store_watch.start()
            stack.callback(self._store_watch.stop)
            self._writer.start()
            self._recorder.start()
            stack.callback(self._recorder.stop)
            for workflow, head in self._runs.unfinished():
                tell_of_resumed(workflow, head)
            self._tracing.start()
            stack.callback(self._tracing.stop)
            self._engine.start()
            self._engine_started = self._accepting = True
            self._reconciler.start()
            self._watcher.start()
            stack.callback(self._watcher.stop)
            self._sweeper.start()
            if self._backups is not None:
                self._backups.start()
                stack.callback(self._backups.stop)
            logger.info("the operator has started")
            failed = self._wait(stopping)
            self._stop()
            self._note_damage()
        return 1 if failed else 0

    def _wait(self, stopping: threading.Event) -> bool:
        """Until it is to stop; gives whether the engine has stopped by itself."""
        while not stopping.wait(1.0):
            if self._engine.health().failure:
                return True
        return False

    def _note_damage(self) -> None:
        """The next start looks at the file before it uses it, and waits where it is damaged."""
        failure = self._engine.health().failure
        if failure.startswith(StoreCorrupt.__name__):
            note_damage(self._store.path, failure)

    def _stop(self) -> None:
        logger.info("the operator stops: attempts may end within %g s", self._settings.grace_seconds)
        self._accepting = False
        self._engine.drain()
        self._reconciler.stop(1.0)
        self._sweeper.stop(1.0)
        self._engine.stop(self._settings.grace_seconds)
        if not self._writer.stop(FLUSH_SECONDS):
            logger.warning("not every status was written; the next start does it")

    # ----------------------------------------------------------------------------------------------------- watching

    def _seen(self, kind: str | None, raw: Raw) -> None:
        """An event of the watch, on its thread."""
        found = parse(raw)
        if kind == "DELETED":
            self._cache.remove(found.key, found.uid)
            self._reconciler.forget_object(found.uid)
        else:
            before = self._cache.put(found, listed=kind is None)
            self._live.saw(before, found)
        self._queue.add(found.key)

    def _watch_failed(self, reason: str) -> None:
        self._metrics.watch_restarted(reason)
        self._sweeper.soon()

    # ------------------------------------------------------------------------------------------------------- probes

    def unhealthy(self) -> Mapping[str, str]:
        """What only a restart can mend."""
        if not self._engine_started:
            return {}
        health = self._engine.health()
        if health.failure:
            return {"store" if health.failure.startswith("Store") else "engine": health.failure}
        silent = time.monotonic() - health.heartbeat_at
        return {"engine": f"no sign of life for {silent:.0f} s"} if silent > HEARTBEAT_LIMIT_SECONDS else {}

    def unready(self) -> Mapping[str, str]:
        """Why a new Workflow would not be taken up at once."""
        wrong = dict(self.unhealthy())
        if store := self._store_trouble():
            wrong["store"] = store
        if not self._engine_started:
            return wrong or {"engine": "it has not started: another operator of this instance may be at work"}
        if not store and not (self._engine.health().accepting and self._accepting):
            wrong["engine"] = "it starts nothing new"
        if not self._lease.reachable:
            wrong["api"] = "the API server can not be reached"
        if self._sweeper.kind_missing:
            wrong["watch"] = "the CRD workflows.flowweaver.io is not there"
        elif self._watcher.started_at is None:
            wrong["watch"] = self._watcher.failure or "it has not started"
        elif not self._sweeper.synced:
            wrong["watch"] = "it has not shown all Workflows yet"
        return wrong

    def _store_trouble(self) -> str:
        """Why the store can not be written now; empty: it can."""
        return self._engine.health().store_error or self._store_watch.trouble

    def _add_gauges(self) -> None:
        metrics = self._metrics
        self._engine.set_meter(self._tracing.beside(RunMeter(metrics, self._clock.now)))
        watch_runs(metrics, self._engine, self._runs)
        watch_store(metrics, self._store)
        metrics.watch("flowweaver_store_writable", lambda: float(not self._store_trouble()))
        watch_cluster(
            metrics,
            cache=self._cache,
            lease=self._lease,
            writer=self._writer,
            watcher=self._watcher,
            sweeper=self._sweeper,
        )
        watch_queue(metrics, self._queue, self._reconciler)
        watch_readiness(metrics, self.unready)


def _stop_on_signals(stopping: threading.Event) -> None:
    def stop(number: int, frame: object) -> None:
        del frame
        if stopping.is_set():
            os._exit(128 + number)  # asked twice: at once
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
