"""What an operator says of itself, and what its process takes."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Self

import httpx
from api_server import sent
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.operators import Operator

SCRAPE_SECONDS = 1.0


def resident_bytes(pid: int) -> int:
    """How much memory a process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def processor_seconds(pid: int) -> float:
    """How much processor time it has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def requests(operator: Operator) -> dict[str, float]:
    """How many requests it has sent, by method."""
    return counted(operator.get("/metrics").text, "rest_client_requests_total", "method")


def counted(text: str, name: str, label: str) -> dict[str, float]:
    """A metric's values, summed by one label; under "" where it has none."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                key = sample.labels.get(label, "")
                sums[key] = sums.get(key, 0.0) + sample.value
    return sums


def finished(text: str) -> float:
    """How many workflows have finished in this life of it."""
    return sum(counted(text, "flowweaver_workflows_finished_total", "outcome").values())


def writes(operator: Operator) -> dict[str, float]:
    """Those that change something."""
    return {method: count for method, count in requests(operator).items() if method not in {"GET", "LIST", "WATCH"}}


class Scraper:
    """Asks for /metrics again and again, as Prometheus does."""

    def __init__(self, operator: Operator) -> None:
        self.seconds: list[float] = []
        self._operator = operator
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        url = f"http://127.0.0.1:{self._operator.port}/metrics"
        with httpx.Client(trust_env=False, timeout=30) as client:
            while not self._stop.wait(SCRAPE_SECONDS):
                began = time.monotonic()
                sent(client.get(url))
                self.seconds.append(time.monotonic() - began)
