"""A real Prometheus beside a test: it scrapes what the test names, and evaluates the shipped rules, every second."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.cluster import processes
from tests.docs.blocks import ROOT

RULES = ROOT / "charts/flowweaver/files/rules/flowweaver.yaml"
DASHBOARD = ROOT / "charts/flowweaver/files/dashboards/flowweaver.json"
JOB = "flowweaver"
UNITS = {"m": "s", "h": "m"}


def program(name: str) -> Path:
    """A program of Debian's package prometheus; a test without it is skipped, but not where all must be there."""
    found = shutil.which(name)
    if found is None:
        lacking = f"there is no {name}: install Debian's package prometheus"
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(lacking)
    return Path(found)


def an_hour_in_a_minute(rules: str) -> str:
    """The shipped rules with every duration a sixtieth of what it is: windows, `for`, and ages that are compared.

    Nothing else of an expression changes, and a range that would be shorter than a few scrapes stays long enough.
    """
    groups = yaml.safe_load(rules)
    for rule in groups["groups"][0]["rules"]:
        if "for" in rule:
            rule["for"] = _sixtieth(rule["for"])
        rule["expr"] = re.sub(r"\[([0-9]+[mh])(?::([0-9]+[mh]))?\]", _range, rule["expr"])
        rule["expr"] = re.sub(
            r"(_(?:age|waiting)_seconds\{[^}]*\}\) > )([0-9]+)",
            lambda found: f"{found[1]}{int(found[2]) / 60:g}",
            rule["expr"],
        )
    return str(yaml.safe_dump(groups, sort_keys=False))


def _range(found: re.Match[str]) -> str:
    step = f":{_sixtieth(found[2])}" if found[2] else ""
    return f"[{_sixtieth(found[1])}{step}]"


def _sixtieth(duration: str) -> str:
    return duration[:-1] + UNITS[duration[-1]]


class Prometheus:
    """A server on loopback that keeps its data in `folder`. Use it as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[int],
        rules: str = "",
        job: str = JOB,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """`targets` are ports of this machine, `labels` what their series have beside `job`."""
        self._folder = folder
        self._port = processes.free_port()
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}/api/v1", timeout=30, trust_env=False)
        self.log = folder / "prometheus.log"
        self._server = program("prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yaml").write_text(rules or "groups: []\n")
        (folder / "prometheus.yaml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(folder / "rules.yaml")],
                    "scrape_configs": [
                        {
                            "job_name": job,
                            "static_configs": [
                                {"targets": [f"127.0.0.1:{port}" for port in targets], "labels": labels or {}}
                            ],
                        }
                    ],
                }
            )
        )

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._process = processes.start(
            [
                self._server,
                f"--config.file={self._folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ],
            self.log,
        )
        processes.await_true("Prometheus answers", self._answers, story=processes.tail(self.log))
        return self

    def __exit__(self, *_: object) -> None:
        processes.stop(self._process, 10)
        self._client.close()

    def _answers(self) -> bool:
        assert self._process.poll() is None, processes.tail(self.log)
        try:
            return bool(self._client.get("/status/buildinfo").status_code == httpx.codes.OK)
        except httpx.HTTPError:
            return False

    def query(self, expression: str) -> dict[Mapping[str, str] | str, float]:
        """What an expression gives now: its values by their labels as text."""
        answer = self._client.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        result = answer["data"]["result"]
        return {json.dumps(found["metric"], sort_keys=True): float(found["value"][1]) for found in result}

    def number(self, expression: str) -> float:
        """The largest value that an expression has now; NaN where it has none."""
        return max((value for value in self.query(expression).values() if not math.isnan(value)), default=math.nan)

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Every alert that fires now, by its name."""
        found = self._client.get("/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in found if alert["state"] == "firing"}

    def await_alert(self, name: str, *, seconds: float = 120, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until it fires, and hold what it tells to have its numbers in it."""

        def fires() -> bool:
            meanwhile()
            return name in self.alerts()

        processes.await_true(f"{name} fires", fires, seconds=seconds, every_seconds=0.5)
        told = self.alerts()[name]["annotations"]
        assert all(text and "<no value>" not in text and "<error" not in text for text in told.values()), told


def dashboard_expressions(window: str = "15s") -> list[tuple[str, str]]:
    """Every panel's title and expression, as Grafana would ask for it with everything chosen."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", window)
            found.append((panel["title"], expression.replace("$namespace", ".*").replace("$job", ".*")))
    return found
