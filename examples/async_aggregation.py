"""Ask a server three hundred questions at once and add up what it says; coroutines in one event loop.

    python examples/async_aggregation.py [--stations 300] [--at-once 100] [--state FILE]

The server is this program's own, on 127.0.0.1. It takes its time, and refuses each twentieth station once with a 503,
so that retries are seen. With --state what has been fetched is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections import Counter
from functools import partial
from typing import Any, Self

from flowweaver import AsyncExecutor, RetryPolicy, SQLiteStateStore, Task, Workflow

REGIONS = ["north", "east", "south", "west"]


class Stations:
    """A weather service: `GET /N` gives the reading of station N after a while. It runs in a thread of its own."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.waited = 0.0  # seconds, over all requests
        self.open = self.most_open = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1000) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        station = int((await reader.readuntil(b"\r\n\r\n")).split()[1][1:])
        self.requests[station] += 1
        wait = 0.03 + 0.01 * (station % 7)
        self.waited += wait
        await asyncio.sleep(wait)
        busy = station % 20 == 0 and self.requests[station] == 1
        reading = {"station": station, "region": REGIONS[station % 4], "celsius": (station * 37 % 300) / 10 - 5}
        body = b"" if busy else json.dumps(reading).encode()
        head = "503 Service Unavailable" if busy else "200 OK"
        writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        self.open -= 1
        writer.close()
        await writer.wait_closed()


async def fetch(port: int, station: int) -> dict[str, Any]:
    """The reading of one station; raises `ConnectionError` where the server is busy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /{station} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"station {station} says {head[9:32].decode()}")
    return dict(json.loads(body))


def aggregate(region: str, **readings: dict[str, Any]) -> dict[str, Any]:
    """Mean and extremes of one region. A plain function: the executor runs it in a thread."""
    values = [each["celsius"] for each in readings.values()]
    return {"region": region, "count": len(values), "mean": sum(values) / len(values), "highest": max(values)}


def build(port: int, stations: int) -> Workflow:
    """A task for each station, one for each region over its stations."""
    workflow = Workflow("async-aggregation")
    again = RetryPolicy(delay=0.05, jitter=True, on=(ConnectionError,))
    for station in range(stations):
        workflow.add_task(Task(f"station-{station}", partial(fetch, port, station), retries=3, timeout=10, retry=again))
    for number, region in enumerate(REGIONS):
        depends_on = [f"station-{station}" for station in range(number, stations, len(REGIONS))]
        workflow.add_task(Task(region, partial(aggregate, region)), depends_on=depends_on)
    return workflow


def main() -> None:
    parser = argparse.ArgumentParser(description="Aggregate from a local server with coroutines.")
    parser.add_argument("--stations", type=int, default=300, help="how many requests")
    parser.add_argument("--at-once", type=int, default=100, help="how many at once")
    parser.add_argument("--state", help="a file that keeps what has been fetched")
    arguments = parser.parse_args()
    store = SQLiteStateStore(arguments.state) if arguments.state else None
    with Stations() as server:
        workflow = build(server.port, arguments.stations)
        began = time.perf_counter()
        workflow.execute(AsyncExecutor(max_concurrency=arguments.at_once, state_store=store))
        seconds = time.perf_counter() - began
    for region in REGIONS:
        found = workflow.get_task_result(region)
        print(
            f"{region:7}{found['count']:4} stations  mean {found['mean']:5.1f} °C  highest {found['highest']:5.1f} °C"
        )
    requests = sum(server.requests.values())
    retries = requests - len(server.requests)
    print(f"\n{requests} requests, {retries} of them retries; at most {server.most_open} were open at once")
    print(f"{seconds:.2f} s for answers that took {server.waited:.1f} s together")


if __name__ == "__main__":
    main()
