"""Workflows of a cluster as they change: a table that is drawn again and again, or a line or an object a change."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from rich.console import RenderableType

from flowweaver.cli.arguments import OutputFormat
from flowweaver.cli.cluster import STATUSES, print_objects
from flowweaver.cli.cluster_kubectl import Kubectl, events_of
from flowweaver.cli.cluster_tables import is_finished, of_many, of_one, phase_of, printed
from flowweaver.cli.progress import plain
from flowweaver.cli.progress_screen import Screen, is_terminal
from flowweaver.errors import FlowWeaverError

DRAW_SECONDS = 0.5
OTHER_LINES = 4  # of a list: header, the rest, the cursor
LINES_BESIDE_TASKS = 24  # of one Workflow: its head, conditions, a few outputs

Event = tuple[str, Any]
Objects = dict[tuple[str, str], Any]


def watch_many(cluster: Kubectl, names: tuple[str, ...], output: OutputFormat) -> int:
    """Until Ctrl-C; gives the exit status."""
    there: Objects = {}

    def content(_columns: int, lines: int) -> RenderableType:
        most = max(1, lines - OTHER_LINES)
        return of_many(list(there.values()), namespaces=cluster.all_namespaces, now=time.time(), most=most)

    with closing(_Watch(cluster, names)) as watch, _drawing(output, content) as draw:
        try:
            for event in watch.events():
                if event is None:
                    draw()
                elif _changed(there, event) and draw is _nothing:
                    _tell(event, output, namespaces=cluster.all_namespaces)
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
    return 0


def watch_one(cluster: Kubectl, name: str, output: OutputFormat) -> int:
    """Until it has finished; gives the exit status that tells how, or that of Ctrl-C. Raises `FlowWeaverError` where it
    is deleted.
    """
    there: Objects = {}

    def content(_columns: int, lines: int) -> RenderableType:
        most = max(3, lines - LINES_BESIDE_TASKS)
        return of_one(next(iter(there.values())), now=time.time(), most=most) if there else ""

    with closing(_Watch(cluster, (name,))) as watch, _drawing(output, content) as draw:
        try:
            for event in watch.events():
                if event is None:
                    draw()
                    continue
                if not _changed(there, event):
                    continue
                if draw is _nothing:
                    _tell(event, output, namespaces=False)
                kind, found = event
                if kind == "DELETED":
                    raise FlowWeaverError(f"{name} was deleted")
                if is_finished(found):
                    break
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
    last = next(iter(there.values()))
    if output is OutputFormat.TABLE:
        printed(of_one(last, now=time.time()))
    return STATUSES.get(phase_of(last), 1)


class _Watch:
    """What happens in the cluster, read by a thread of its own, so that something can be drawn meanwhile."""

    def __init__(self, cluster: Kubectl, names: tuple[str, ...]) -> None:
        self._cluster, self._names = cluster, names
        self._arrivals: SimpleQueue[Event | BaseException] = SimpleQueue()
        self._closed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._read, name="flowweaver-watch", daemon=True)
        self._thread.start()

    def events(self) -> Iterator[Event | None]:
        """One after the other; None now and then, when it is time to draw. Raises what kubectl does."""
        drawn = 0.0
        while True:
            try:
                arrival = self._arrivals.get(timeout=DRAW_SECONDS)
            except Empty:
                yield None
                continue
            if isinstance(arrival, BaseException):
                raise arrival
            yield arrival
            if time.monotonic() - drawn >= DRAW_SECONDS:
                yield None
                drawn = time.monotonic()

    def close(self) -> None:
        """End kubectl."""
        self._closed.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join()

    def _read(self) -> None:
        """A server ends each watch after a while, and the next one begins with what is there then."""
        try:
            while not self._closed.is_set():
                self._process = self._cluster.start_watch(*self._names)
                with self._process:
                    if self._closed.is_set():
                        self._process.kill()
                    for event in events_of(self._process):
                        self._arrivals.put(event)
                self._closed.wait(DRAW_SECONDS)
        except BaseException as error:  # noqa: BLE001 - raised again where it is read
            self._arrivals.put(error)


def _changed(there: Objects, event: Event) -> bool:
    """Take it in; whether it says anything new."""
    kind, found = event
    metadata = found.get("metadata") or {}
    key = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
    if kind == "DELETED":
        return there.pop(key, None) is not None
    same = (there.get(key, {}).get("metadata") or {}).get("resourceVersion") == metadata.get("resourceVersion")
    there[key] = found
    return not same


def _tell(event: Event, output: OutputFormat, *, namespaces: bool) -> None:
    kind, found = event
    if output is not OutputFormat.TABLE:
        print_objects(found, output, several=True)
        return
    metadata, status = found.get("metadata") or {}, found.get("status") or {}
    name = f"{metadata.get('namespace')}/{metadata.get('name')}" if namespaces else str(metadata.get("name"))
    phase = "Deleted" if kind == "DELETED" else phase_of(found)
    words = [time.strftime("%H:%M:%S"), name, phase, status.get("progress"), status.get("message")]
    print("  ".join(plain(str(word)) for word in words if word), flush=True)


def _nothing() -> None:
    """Draws nothing: what happens is told a line at a time."""


@contextmanager
def _drawing(output: OutputFormat, content: Callable[[int, int], RenderableType]) -> Iterator[Callable[[], None]]:
    """What draws on a terminal, where the table is asked for there; gone again at the end."""
    if output is not OutputFormat.TABLE or not is_terminal(sys.stdout):
        yield _nothing
        return
    screen = Screen(sys.stdout)
    try:
        yield lambda: screen.show(content)
    finally:
        screen.close()
