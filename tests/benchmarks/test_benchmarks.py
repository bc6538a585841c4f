"""A tiny run of each workload by each contender of ours, so that the benchmark still runs when somebody needs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from xml.dom import minidom

import pytest

from tests.docs.blocks import ROOT

FOLDER = ROOT / "benchmarks"
SIZES = {"chain": 20, "fan": 20, "dag": 210, "multi": 3, "io": 2, "payload": 4}
TASKS = {"chain": 20, "fan": 22, "dag": 210, "multi": 30, "io": 20, "payload": 4}
PROGRAMS = ["ours.py", "engine_alone.py", "bar.py", "threads.py"]


def run(program, *words, folder, **environment):
    return subprocess.run(
        [sys.executable, str(FOLDER / program), *map(str, words)],
        env={**os.environ, "BENCH_DIR": str(folder), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def told(ended):
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(lines) == 1, ended.stdout
    return json.loads(lines[0].removeprefix("RESULT "))


@pytest.fixture
def modules(monkeypatch):
    """Lets a test import the modules of the benchmark, and forgets them again."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


# ----------------------------------------------------------------------------------------------------------- contenders


@pytest.mark.parametrize("workload", SIZES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_contender_runs_each_workload_to_the_right_sums(program, workload, tmp_path):
    said = told(run(program, workload, SIZES[workload], folder=tmp_path))

    assert said["tasks"] == TASKS[workload]
    assert said["run_s"] > 0
    assert list(tmp_path.iterdir()) == [], "files were left behind"


@pytest.mark.parametrize("program", ["ours.py", "engine_alone.py", "bar.py"])
def test_what_claims_to_be_durable_goes_on_after_a_kill_with_what_is_new(program, tmp_path):
    log = tmp_path / "bodies"
    environment = {"FIXED_DIR": str(tmp_path), "TASKLOG": str(log), "KEEP": "1"}

    killed = run(program, "fan", 300, folder=tmp_path, CRASH_AFTER="250", **environment)
    before = log.read_text().split()[::2]
    told(run(program, "fan", 300, folder=tmp_path, **environment))
    after = log.read_text().split()[::2][len(before) :]

    assert killed.returncode == -9
    assert 246 <= len(before) <= 250
    assert set(before) | set(after) == set(map(str, range(302)))
    assert len(set(before) & set(after)) <= 4, "more ran again than there are workers"


def test_rows_by_hand_are_written_and_read(tmp_path):
    assert told(run("by_hand.py", "payload", 4, folder=tmp_path))["commits"] == 4

    told(run("engine_alone.py", "dag", 50, folder=tmp_path, FIXED_DIR=str(tmp_path)))

    assert told(run("by_hand.py", "resume", tmp_path / "state.db", folder=tmp_path))["decoded"] == 50


def test_the_time_of_an_import_is_told_with_what_it_loads(tmp_path):
    said = told(run("imports.py", "import flowweaver", folder=tmp_path))

    assert said["seconds"] > 0
    assert said["heavy"] == []


# -------------------------------------------------------------------------------------------------------------- numbers


def test_a_wrong_sum_is_no_result(modules):
    import workloads

    graph = workloads.chain(3)[0]

    workloads.check(graph, lambda number: {"i": number, "s": 3})
    with pytest.raises(SystemExit, match="3 is right"):
        workloads.check(graph, lambda number: {"i": number, "s": 2})


def test_the_workloads_are_those_of_the_bar_beside_the_checkout(modules, monkeypatch):
    shared = ROOT.parent / "shared" / "bench"
    if not shared.is_dir():
        pytest.skip("there is no bar beside this checkout")
    import workloads

    monkeypatch.syspath_prepend(str(shared))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    import common

    try:
        for name, make in common.SPECS.items():
            theirs = make(common.DEFAULT_N[name])
            assert workloads.workload(name).graphs == (theirs if name == "multi" else [theirs]), name
        assert workloads.payload(17) == common.blob(17)
    finally:
        del sys.modules["common"]


def test_a_ratio_is_taken_within_a_round_and_spread_over_the_rounds(modules):
    from ratios import Spread, figures, ratios

    found = ratios([2.0, 4.0, None, 8.0, 10.0, 6.0], [1.0, 1.0, 1.0, 4.0, 2.0, None])

    assert found == [2.0, 4.0, 2.0, 5.0]
    assert Spread.of(found) == Spread(median=3.0, low=2.0, high=4.25, number=4)
    assert [figures(value) for value in (0.0381, 1.236, 12.34, 1234.0)] == ["0.038", "1.24", "12.3", "1,234"]


def test_the_order_turns_round_each_round_and_one_that_fails_is_left_out(modules, tmp_path):
    from cases import Case, Contender
    from children import Box, Failed
    from rounds import measure
    from table import table

    order = []

    def contender(name, value):
        def measured(_box):
            order.append(name)
            if value is None:
                raise Failed("it | can not")
            return value

        return measured

    others = [Contender("bar", contender("bar", 2.0), limit=1.4), Contender("bad", contender("bad", None), limit=1.0)]
    case = Case("one", "the only one", contender("ours", 3.0), others)
    (found,) = measure([case], Box(tmp_path), pairs=3, peer_rounds=1, say=lambda _text: None)

    assert order == ["ours", "bar", "bad", "bar", "ours", "ours", "bar"]
    assert [found.verdict(contender) for contender in others] == ["missed", "missed"]
    assert "1.50× (1.50–1.50) | 1.40× | missed" in table([found])
    assert "no result: it / can not" in table([found])


# -------------------------------------------------------------------------------------------------------- the whole run


@pytest.mark.slow
def test_a_quick_run_of_everything_gives_a_table_a_picture_and_the_numbers(tmp_path):
    words = ["--quick", "--pairs", "1", "--peers", "none", "--out", tmp_path, "--folder", tmp_path / "boxes"]
    ended = run("run.py", *words, folder=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert "no result" not in ended.stdout
    assert ended.stdout in (tmp_path / "report.md").read_text() + "\n"
    cases = json.loads((tmp_path / "numbers.json").read_text())["cases"]
    assert " ".join(cases) == "chain fan dag multi io payload resume restart spin cost memory import"
    assert all(f"**{name}**" in ended.stdout for name in cases)
    assert minidom.parse(str(tmp_path / "ratios.svg")).getElementsByTagName("circle")
    assert not (tmp_path / "boxes").exists()


def test_a_workload_that_there_is_not_is_refused_with_those_that_there_are(tmp_path):
    ended = run("run.py", "--only", "chian", "--peers", "none", folder=tmp_path)

    assert ended.returncode == 1
    assert "chian is none of chain, fan, dag" in ended.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_every_commit_reaches_the_disk(tmp_path):
    ended = run("syncs.py", "chain", 30, folder=tmp_path)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "chain 30: " in ended.stdout
