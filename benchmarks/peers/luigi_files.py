"""luigi with its local scheduler and one worker: a file is a result, renamed into its place and not synced."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import luigi
from workloads import Ran, Workload, main


class Bench:
    """What every task looks up; luigi's parameters are only its numbers."""

    workload: Workload
    folder: Path


class Step(luigi.Task):
    graph = luigi.IntParameter()
    number = luigi.IntParameter()

    def requires(self):
        return [Step(self.graph, other) for other in Bench.workload.graphs[self.graph][self.number]]

    def output(self):
        return luigi.LocalTarget(str(Bench.folder / f"{self.graph}-{self.number}.json"))

    def run(self):
        given = []
        for one in self.input():
            with one.open() as file:
                given.append(json.load(file))
        with self.output().open("w") as file:
            json.dump(Bench.workload.body(self.number, given), file)


def run(workload: Workload, folder: Path) -> Ran:
    Bench.workload, Bench.folder = workload, folder
    sys.setrecursionlimit(1_000_000)
    began = time.perf_counter()
    wanted = [
        Step(position, number)
        for position, graph in enumerate(workload.graphs)
        for number in sorted(set(range(len(graph))) - {other for needs in graph for other in needs})
    ]
    built = time.perf_counter()
    if not luigi.build(wanted, local_scheduler=True, workers=1, log_level="CRITICAL"):
        raise SystemExit("luigi has failed")
    ended = time.perf_counter()
    return Ran(built - began, ended - built, lambda graph, n: json.loads((folder / f"{graph}-{n}.json").read_text()))


if __name__ == "__main__":
    sys.exit(main(run))
