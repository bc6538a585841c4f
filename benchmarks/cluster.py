"""What the operator costs beside a real API server, in one run.

    make bench-cluster
    make bench-cluster BENCH="--only crowd --objects 1000"

- `objects`: with each thousand of finished Workflows on the server: the operator's start, memory, and the requests that
  it sends while nothing happens
- `crowd`: so many workflows of ten tasks applied at once while /metrics is scraped, beside a bare client that writes to
  the same server the same kinds of requests, of the same size, before and after it
- `flat`: the operator's processor time for a task, from a hundred tasks to a hundred thousand

Needs a control plane (`make control-plane`). Everything runs on this machine, and the API server takes most of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))

from api_server import BASE, EVENTS, NAMESPACE, Server, sent
from operator_look import (
    SCRAPE_SECONDS,
    Scraper,
    counted,
    finished,
    processor_seconds,
    requests,
    resident_bytes,
    writes,
)

from tests.cluster.control_plane import Access, ControlPlane
from tests.cluster.fixtures import install_crds
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true

MEBIBYTE = 1024 * 1024


class Bench:
    """One control plane, one namespace, and operators one after the other."""

    def __init__(self, access: Access, folder: Path, arguments: argparse.Namespace) -> None:
        self.server = Server(access)
        self._access, self._folder, self._arguments = access, folder, arguments
        self._numbers = itertools.count(1)

    @contextmanager
    def operator(self) -> Iterator[Operator]:
        """One that has been prepared, on a state file of its own."""
        folder = self._folder / f"operator-{next(self._numbers)}"
        folder.mkdir()
        operator = Operator.prepare(
            self._access, NAMESPACE, folder, release=f"bench-{folder.name}", log={"level": "warning"}
        )
        try:
            yield operator
        finally:
            operator.close()

    def await_finished(self, count: int, operator: Operator, seconds: float = 1200) -> None:
        """Wait until so many have been reported as finished."""

        def reported() -> bool:
            assert operator.running, operator.output()[-2000:]
            text = operator.get("/metrics").text
            return finished(text) >= count and counted(text, "flowweaver_status_waiting", "")[""] == 0

        await_true(f"{count} workflows have finished", reported, seconds=seconds, every_seconds=0.2)

    def clear(self) -> None:
        """Delete every Workflow, also what an operator has left its finalizer on."""
        patch = [{"op": "add", "path": "/metadata/finalizers", "value": []}]

        def remove(client: httpx.Client, name: str) -> None:
            header = {"Content-Type": "application/json-patch+json"}
            sent(client.patch(f"{BASE}/{name}", content=json.dumps(patch), headers=header))
            sent(client.delete(f"{BASE}/{name}"))

        self.server.all(remove, [each["metadata"]["name"] for each in self.server.pages()])

    def objects(self) -> None:
        """Start, memory and requests with each thousand."""
        say("objects: finished Workflows of ten tasks on the API server")
        step = min(1000, self._arguments.objects)
        with self.operator() as operator:
            operator.start()
            say(f"  {'objects':>8} {'start s':>8} {'resident MiB':>13} {'requests a minute':>18}")
            self._objects_line(operator, 0)
            for count in range(step, self._arguments.objects + 1, step):
                self.server.create([f"o{number}" for number in range(count - step, count)], 10)
                self.await_finished(step, operator)
                self._objects_line(operator, count)
        self.clear()

    def _objects_line(self, operator: Operator, count: int) -> None:
        operator.terminate()
        began = time.monotonic()
        operator.start()
        started = time.monotonic() - began
        time.sleep(5)  # what follows a start is over then
        before = requests(operator)
        time.sleep(self._arguments.quiet)
        after = requests(operator)
        sent_meanwhile = sum(after.values()) - sum(before.values())
        resident = resident_bytes(operator.pid) / MEBIBYTE
        say(f"  {count:8} {started:8.2f} {resident:13.1f} {sent_meanwhile * 60 / self._arguments.quiet:18.1f}")

    def crowd(self) -> None:
        """So many at once, beside a bare client."""
        count = self._arguments.crowd
        names = [f"c{number}" for number in range(count)]
        say(f"crowd: {count} Workflows of ten tasks applied at once, /metrics scraped every {SCRAPE_SECONDS:g} s")
        with self.operator() as operator:
            self.server.create(names, 10)
            operator.start()  # it finds all of them at once
            with Scraper(operator) as scraper:
                # It has begun before it says that it is ready: what was done by then is not counted.
                done, before, began = finished(operator.get("/metrics").text), writes(operator), time.monotonic()
                self.await_finished(count, operator)
                seconds = time.monotonic() - began
                after, ended = writes(operator), count - done
            model, events = self.server.read(names[0]), self.server.events()
        written = sum(after.values()) - sum(before.values())
        posted = min(1.0, (after.get("POST", 0) - before.get("POST", 0)) / ended)
        bare = [self._bare(model, events[0], posted, names) for _ in range(2)]
        rate, by_bare = written / seconds, statistics.mean(bare)
        slowest = max(scraper.seconds, default=0.0)
        say(f"  {ended / seconds:.1f} workflows a second, {ended * 10 / seconds:.0f} tasks a second")
        say(
            f"  {rate:.0f} writes a second ({written / ended:.1f} a workflow); "
            f"a bare client: {by_bare:.0f} ({bare[0]:.0f}, {bare[1]:.0f})"
        )
        say(
            f"  operator / bare client: {rate / by_bare:.2f}; "
            f"{len(scraper.seconds)} scrapes, the slowest took {slowest * 1000:.0f} ms"
        )
        self.clear()

    def _bare(self, model: dict[str, Any], event: dict[str, Any], posted: float, names: list[str]) -> float:
        """Writes a second of a client that only writes what the operator wrote: for each Workflow a patch of the
        metadata and one of the status, and an Event for that share of them which got one.
        """
        claim = {"op": "add", "path": "/metadata/annotations", "value": model["metadata"].get("annotations", {})}
        own = {"metadata": {"generateName": "bench-", "namespace": NAMESPACE}}
        with_event = {name for number, name in enumerate(names, 1) if int(number * posted) > int((number - 1) * posted)}

        def patch(client: httpx.Client, path: str, *operations: dict[str, Any]) -> None:
            header = {"Content-Type": "application/json-patch+json"}
            sent(client.patch(path, content=json.dumps(operations), headers=header))

        def write(client: httpx.Client, name: str) -> None:
            now = str(time.monotonic_ns())  # a patch that changes nothing would not be written
            patch(client, f"{BASE}/{name}", claim, {"op": "add", "path": "/metadata/labels", "value": {"bench": now}})
            status = {**model["status"], "message": now}
            patch(client, f"{BASE}/{name}/status", {"op": "add", "path": "/status", "value": status})
            if name in with_event:
                sent(client.post(EVENTS, json={**event, **own}))

        return (len(names) * 2 + len(with_event)) / self.server.all(write, names)

    def flat(self) -> None:
        """Processor time a task, in workflows of a hundred tasks."""
        say("flat: the operator's processor time a task, Workflows of 100 tasks")
        say(f"  {'tasks':>8} {'ms a task':>10} {'tasks a second':>15}")
        for tasks in (10**power for power in range(2, self._arguments.power + 1)):
            with self.operator() as operator:
                operator.start()
                cpu, began = processor_seconds(operator.pid), time.monotonic()
                self.server.create([f"f{number}" for number in range(tasks // 100)], 100)
                self.await_finished(tasks // 100, operator)
                seconds = time.monotonic() - began
                cpu = processor_seconds(operator.pid) - cpu
            say(f"  {tasks:8} {cpu / tasks * 1000:10.3f} {tasks / seconds:15.0f}")
            self.clear()


def say(line: str) -> None:
    """Print it now."""
    print(line, flush=True)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="objects,crowd,flat", help="with commas between")
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--crowd", type=int, default=1000)
    parser.add_argument("--power", type=int, default=5, help="up to 10 to this power tasks")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds in which idle requests are counted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder, "control-plane"))
        try:
            access = plane.start()
            install_crds(access.kubectl)
            access.kubectl("create", "namespace", NAMESPACE)
            bench = Bench(access, Path(folder), arguments)
            for name in arguments.only.split(","):
                {"objects": bench.objects, "crowd": bench.crowd, "flat": bench.flat}[name]()
        finally:
            plane.stop()


if __name__ == "__main__":
    main()
