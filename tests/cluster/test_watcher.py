"""The watch and the sweep by themselves, against a real API server: what they show when a stream goes silent."""

from __future__ import annotations

import pwd
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config

from flowweaver.core.phases import RunPhase
from flowweaver.core.state import RunHead
from flowweaver.operator.api import Api
from flowweaver.operator.objects import ObjectCache, parse
from flowweaver.operator.queue import WorkQueue
from flowweaver.operator.run_index import RunIndex
from flowweaver.operator.sweeps import Sweeper
from flowweaver.operator.watcher import Raw, Watcher
from flowweaver.ports import RunName
from tests.cluster.control_plane import Access, write_kubeconfig
from tests.cluster.faults import WATCHES, FaultProxy
from tests.cluster.kubectl import Kubectl
from tests.cluster.processes import await_true
from tests.cluster.test_operator_lifecycle import HELLO
from tests.cluster.workflows import workflow

pytestmark = pytest.mark.control_plane

FOREVER_SECONDS = 3600.0


@dataclass(slots=True, kw_only=True)
class View:
    """What the operator would know, without an engine."""

    api: Api
    watcher: Watcher
    cache: ObjectCache
    queue: WorkQueue = field(default_factory=WorkQueue)
    runs: RunIndex = field(default_factory=RunIndex)
    drift: Counter[str] = field(default_factory=Counter)
    failures: list[str]

    def knows(self, name: str) -> bool:
        return any(found.name == name for found in self.cache)

    def queued(self) -> set[str]:
        """The names of what waits in the queue; it is empty afterwards."""
        found = set()
        while (key := self.queue.take(timeout_seconds=0)) is not None:
            found.add(key.partition("/")[2])
            self.queue.done(key)
        return found


@contextmanager
def watching(access: Access, url: str, folder: Path, namespace: str, *, silence_seconds: float) -> Iterator[View]:
    write_kubeconfig(folder / "kubeconfig", url=url, authority=access.authority, token=access.token)
    credentials = Configuration()
    load_kube_config(config_file=str(folder / "kubeconfig"), client_configuration=credentials)
    cache = ObjectCache()
    failures: list[str] = []
    api = Api(credentials)

    def seen(kind: str | None, raw: Raw) -> None:
        found = parse(raw)
        if kind == "DELETED":
            cache.remove(found.key, found.uid)
        else:
            cache.put(found, listed=kind is None)

    watcher = Watcher(
        credentials=credentials,
        namespaces=(namespace,),
        check=api.require_kind,
        seen=seen,
        restarted=failures.append,
        silence_seconds=silence_seconds,
    )
    watcher.start()
    try:
        yield View(api=api, watcher=watcher, cache=cache, failures=failures)
    finally:
        watcher.stop()
        api.close()


@contextmanager
def sweeping(view: View, namespace: str) -> Iterator[Sweeper]:
    sweeper = Sweeper(
        api=view.api,
        namespaces=(namespace,),
        cache=view.cache,
        runs=view.runs,
        queue=view.queue,
        watcher=view.watcher,
        drifted=lambda kind: view.drift.update([kind]),
        interval_seconds=0.2,
    )
    sweeper.start()
    try:
        yield sweeper
    finally:
        sweeper.stop(30)


def is_watching(proxy: FaultProxy) -> Callable[[], bool]:
    return lambda: proxy.open_requests(WATCHES) > 0


def test_a_watch_asks_for_no_name_of_its_user_and_of_its_host(
    control_plane: Access, namespace: str, kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> NoReturn:
        raise KeyError("uid not found: 65532")

    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "POD_ID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(socket, "gethostbyaddr", nobody)
    kubectl.apply(workflow("first", HELLO))
    with watching(control_plane, control_plane.url, tmp_path, namespace, silence_seconds=FOREVER_SECONDS) as view:
        await_true("it is shown", lambda: view.knows("first") or view.failures)
        assert view.failures == []


@pytest.mark.slow
def test_a_watch_that_has_gone_silent_is_asked_for_again_and_misses_nothing(
    control_plane: Access, namespace: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl.apply(workflow("before", HELLO), workflow("doomed", HELLO))
    with (
        FaultProxy(control_plane) as proxy,
        watching(control_plane, proxy.url, tmp_path, namespace, silence_seconds=3) as view,
    ):
        await_true("both are shown", lambda: view.knows("before") and view.knows("doomed"))
        await_true("it watches", is_watching(proxy))
        assert proxy.stall()
        kubectl("delete", "fw", "doomed")
        kubectl.apply(workflow("meanwhile", HELLO))
        await_true("the new one is shown", lambda: view.knows("meanwhile"))
        await_true("the other one is gone", lambda: not view.knows("doomed"))
        assert view.failures == [], "the watch goes on from where it was"


def test_a_sweep_finds_what_was_deleted_unseen_and_the_run_of_it(
    control_plane: Access, namespace: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl.apply(workflow("kept", HELLO), workflow("doomed", HELLO))
    with (
        FaultProxy(control_plane) as proxy,
        watching(control_plane, proxy.url, tmp_path, namespace, silence_seconds=FOREVER_SECONDS) as view,
        sweeping(view, namespace) as sweeper,
    ):
        await_true("all is shown", lambda: sweeper.synced and view.knows("kept") and view.knows("doomed"))
        await_true("it watches", is_watching(proxy))
        # A run of which no object is known at all: it went while nobody looked.
        head = RunHead(phase=RunPhase.RUNNING, created_at=1.0)
        view.runs.record(1, RunName(f"{namespace}/orphan", "gone"), head)
        await_true("its run is to be looked at", lambda: "orphan" in view.queued())
        assert proxy.stall()
        kubectl("delete", "fw", "doomed")
        await_true("the sweep has found it", lambda: not view.knows("doomed"))
        await_true("it is to be looked at", lambda: "doomed" in view.queued())
        assert view.drift == {"gone": 1}
        assert view.knows("kept")


@pytest.mark.slow
def test_a_sweep_finds_what_the_watch_does_not_show_and_starts_it_again(
    control_plane: Access, namespace: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    kubectl.apply(workflow("before", HELLO))
    with (
        FaultProxy(control_plane) as proxy,
        watching(control_plane, proxy.url, tmp_path, namespace, silence_seconds=FOREVER_SECONDS) as view,
        sweeping(view, namespace) as sweeper,
    ):
        await_true("all is shown", lambda: sweeper.synced and view.knows("before"))
        await_true("it watches", is_watching(proxy))
        began = view.watcher.started_at
        assert proxy.stall()
        kubectl.apply(workflow("meanwhile", HELLO))
        await_true("the sweep has found it", lambda: "meanwhile" in view.queued())
        assert view.drift == {"unseen": 1}
        assert view.knows("meanwhile")
        await_true("a new watch has begun", lambda: view.watcher.started_at not in {None, began})
        kubectl.apply(workflow("after", HELLO))
        await_true("it shows what comes", lambda: view.knows("after"), every_seconds=0.2)
