"""The examples in Python do what they say, and a second time with the same state file only what is left."""

from __future__ import annotations

import csv
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = ["async_aggregation", "etl_pipeline", "ml_pipeline", "parallel_run", "resume_after_kill"]


def run(name: str, *arguments: object, folder: Path) -> str:
    """What the example prints; it is run as its first lines say, from another folder."""
    result = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    # What the library logs is seen where nobody has set up a log; nothing else is.
    assert all(" retry " in line for line in result.stderr.splitlines()), result.stderr
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_how_it_is_run_and_what_its_options_are(name, tmp_path):
    first = (EXAMPLES / f"{name}.py").read_text().split('"""')[1]

    assert f"python examples/{name}.py" in first
    options = set(re.findall(r"--[a-z-]+", run(name, "--help", folder=tmp_path)))
    assert set(re.findall(r"--[a-z-]+", first)) <= options


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_enough_to_be_read(name):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) <= 150


def test_the_executors_count_the_same_words(tmp_path):
    said = run("parallel_run", "--files", 6, "--wait", 0.05, folder=tmp_path)

    times = dict(re.findall(r"^(\w+Executor)\(.*\) +([0-9.]+) s", said, re.MULTILINE))
    assert list(times) == ["SequentialExecutor", "ThreadedExecutor", "AsyncExecutor"]
    assert float(times["SequentialExecutor"]) >= 0.3  # it waits for one file after the other
    library = sorted(Path(os.__file__).parent.glob("*.py"), key=lambda path: (-path.stat().st_size, path.name))
    words = Counter(
        word for path in library[:6] for word in re.findall(r"[a-z]{4,}", path.read_text(errors="replace").lower())
    )
    assert f"All of them counted {words.total():,} words" in said
    assert f"most of them: {words.most_common(1)[0][0]} " in said


def test_the_etl_loads_what_can_be_read_and_says_what_can_not(tmp_path):
    said = run("etl_pipeline", "--rows", 500, "--folder", tmp_path, "--state", tmp_path / "state.db", folder=tmp_path)

    with (tmp_path / "orders.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        loaded = dict(connection.execute("SELECT id, cents FROM orders"))
    assert len(lines) > 500  # some come twice
    assert 400 < len(loaded) < 500
    rates = {"EUR": 100, "USD": 92, "GBP": 117}
    for line in lines:
        if int(line["id"]) in loaded:
            assert loaded[int(line["id"])] == int(Decimal(line["amount"].replace(",", ".")) * rates[line["currency"]])
    assert f"in all {sum(loaded.values()) / 100:,.2f} EUR" in said
    assert said.count("completed") == 6


def test_the_etl_does_nothing_twice_that_is_in_its_state_file(tmp_path):
    arguments = ("--rows", 300, "--folder", tmp_path, "--state", tmp_path / "state.db")
    first = run("etl_pipeline", *arguments, folder=tmp_path)
    (tmp_path / "orders.csv").write_text("it is not read again")

    second = run("etl_pipeline", *arguments, folder=tmp_path)

    assert "completed" not in second  # no task has changed
    assert second.split("lines:")[1] == first.split("lines:")[1]


def test_the_classifier_learns_what_no_line_can_tell(tmp_path):
    arguments = ("--points", 300, "--folds", 3, "--state", tmp_path / "state.db")

    said = run("ml_pipeline", *arguments, folder=tmp_path)

    means = {model: float(mean) for model, mean in re.findall(r"^(\w+) +degree.* mean ([0-9.]+)%", said, re.MULTILINE)}
    assert means["line"] < 75
    assert means["curve"] > 85
    best, held_out = re.search(r"best: (\w+), with ([0-9.]+)%", said).groups()
    assert means[best] == max(means.values())
    assert float(held_out) > 85
    assert run("ml_pipeline", *arguments, folder=tmp_path) == said  # nothing is trained again: the times are the same


def test_the_aggregation_gets_every_station_also_where_the_server_is_busy(tmp_path):
    arguments = ("--stations", 80, "--at-once", 40, "--state", tmp_path / "state.db")

    said = run("async_aggregation", *arguments, folder=tmp_path)

    celsius = {station: (station * 37 % 300) / 10 - 5 for station in range(80)}
    for number, region in enumerate(["north", "east", "south", "west"]):
        own = [celsius[station] for station in range(number, 80, 4)]
        mean, highest = sum(own) / len(own), max(own)
        assert re.search(
            rf"^{region} +20 stations  mean +{mean:.1f} °C  highest +{highest:.1f} °C$", said, re.MULTILINE
        )
    most = int(re.search(r"84 requests, 4 of them retries; at most (\d+) were open at once", said)[1])
    assert 1 < most <= 40


def test_what_was_fetched_is_not_asked_for_again(tmp_path):
    arguments = ("--stations", 20, "--state", tmp_path / "state.db")
    first = run("async_aggregation", *arguments, folder=tmp_path)

    second = run("async_aggregation", *arguments, folder=tmp_path)

    assert "0 requests, 0 of them retries" in second
    assert second.splitlines()[:4] == first.splitlines()[:4]


def test_nothing_that_was_recorded_runs_again_after_sigkill(tmp_path):
    said = run("resume_after_kill", "--tasks", 40, "--state", tmp_path / "state.db", folder=tmp_path)

    assert "killed by SIGKILL" in said
    assert "recorded as completed and run again: 0" in said
    recorded = int(re.search(r"(\d+) are recorded as completed", said)[1])
    ran = int(re.search(r"it ran (\d+) tasks and the sum", said)[1])
    assert recorded + ran == 40
    assert 20 <= recorded <= 23  # task-20 begins when the twenty before it are durable; it is one of four in its row
    assert f"the sum of 40 squares is {sum(number * number for number in range(40)):,}" in said
