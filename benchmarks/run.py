"""How long workflows take, beside the bar, bare threads, SQLite by hand and other engines, in one run.

    make bench
    make bench BENCH="--only chain,dag --pairs 15 --peers dbos"
    make bench BENCH=--quick

Every measurement is a process of its own. In each round all contenders of a workload run once, in an order that turns
round each time; what counts is the ratio within a round. Prints a table, and writes it with a picture and the numbers
to .cache/benchmarks/. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import environments
from cases import Cases
from children import CACHE, Box
from picture import picture
from rounds import Measured, measure
from table import table


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="workloads with commas between; nothing: all of them")
    parser.add_argument("--pairs", type=int, default=9, help="rounds")
    parser.add_argument("--peers", default="all", help="other engines: none, all, or names with commas between")
    parser.add_argument("--peer-rounds", type=int, default=3, help="rounds that the other engines take part in")
    parser.add_argument("--quick", action="store_true", help="a tenth of each workload in three rounds: does it run?")
    parser.add_argument("--engine", action="store_true", help="measure the engine without the library's face as ours")
    parser.add_argument("--source", type=Path, help="a folder with another flowweaver: measure that one")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    parser.add_argument("--folder", type=Path, default=CACHE / "boxes", help="on the disk that is meant")
    parser.add_argument("--out", type=Path, default=CACHE, help="where the table, picture and numbers go")
    return parser.parse_args(given)


def machine() -> str:
    """What all of it ran on."""
    cpus = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = cpus[0] if cpus else platform.machine()
    return (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {len(cpus)} × {processor}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version} "
        f"(in the bar), load {os.getloadavg()[0]:.1f}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def chosen(cases: Cases, only: str) -> list[str]:
    """The names of `--only`; raises `SystemExit` for one that there is not."""
    every = list(cases.all())
    names = [name.strip() for name in only.split(",") if name.strip()] or every
    if unknown := [name for name in names if name not in every]:
        raise SystemExit(f"--only: {', '.join(unknown)} is none of {', '.join(every)}")
    return names


def report(every: Sequence[Measured], head: str, out: Path) -> None:
    """Print the table; write it, the picture and the numbers."""
    text = f"{head}\n\n{table(every)}\n"
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(text, encoding="utf-8")
    (out / "ratios.svg").write_text(picture(every), encoding="utf-8")
    numbers = {one.case.name: {"unit": one.case.unit, "scale": one.case.scale, **one.values} for one in every}
    (out / "numbers.json").write_text(json.dumps({"about": head, "cases": numbers}, indent=1), encoding="utf-8")
    print(f"written: {out / 'report.md'}, ratios.svg, numbers.json", file=sys.stderr)


def peers_there(wanted: Sequence[environments.Peer]) -> tuple[list[environments.Peer], list[str]]:
    """Those that can be installed, and a sentence for each of the others."""
    there, missing = [], []
    for peer in wanted:
        if why := environments.installed(peer):
            missing.append(f"{peer.name} is left out: {why}")
        else:
            there.append(peer)
    return there, missing


def main() -> int:
    """Measure and report."""
    given = arguments()
    peers, missing = peers_there(environments.wanted(given.peers))
    cases = Cases(engine=given.engine, source=given.source, peers=peers, quick=given.quick)
    names = chosen(cases, given.only)
    pairs = min(given.pairs, 3) if given.quick else given.pairs
    box = Box(given.folder.resolve())
    before = machine()
    try:
        every = measure([cases.all()[name] for name in names], box, pairs=pairs, peer_rounds=given.peer_rounds)
    finally:
        shutil.rmtree(box.folder, ignore_errors=True)
    subject = "the engine alone" if given.engine else "the library"
    subject += f" of {given.source}" if given.source else ""
    how = f"{pairs} rounds (other engines: {min(pairs, given.peer_rounds)}); medians, with the quartiles of the ratio"
    head = [
        f"{before} at the start, {os.getloadavg()[0]:.1f} at the end.",
        f"FlowWeaver is {subject}; the bar is {cases.bar_name}. {how} within a round.",
        *missing,
    ]
    report(every, "  \n".join(head), given.out)
    lost = [one.case.name for one in every for contender in one.case.against if one.missed(contender)]
    return 1 if given.check and lost else 0


if __name__ == "__main__":
    sys.exit(main())
