"""Choose and train a classifier: cross-validation with each fold in a process of its own, so that all cores compute.

    python examples/ml_pipeline.py [--points 600] [--folds 4] [--state FILE]

Logistic regression by gradient descent, on two rings of points that no straight line parts; pure Python. With --state
each fold that has been computed is kept, so that a run that was killed trains only the others.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from functools import partial
from typing import Any

from flowweaver import SQLiteStateStore, Task, ThreadedExecutor, Workflow

Point = list[float]
DEGREES = {"line": 1, "curve": 2, "bendy": 3}
ISOLATION = "process" if sys.platform == "linux" else "thread"


def make_points(count: int) -> dict[str, Any]:
    """Two noisy rings, one in the other: the inner one is class 0; a fifth is kept for the end."""
    chance = random.Random(7)
    points = []
    for number in range(count):
        label = number % 2
        angle, radius = chance.uniform(0, 2 * math.pi), 1 + label + chance.gauss(0, 0.28)
        points.append([radius * math.cos(angle), radius * math.sin(angle), float(label)])
    chance.shuffle(points)
    held_out = count // 5
    return {"train": points[held_out:], "test": points[:held_out]}


def features(x: float, y: float, degree: int) -> list[float]:
    """All products of x and y up to that degree, the constant first."""
    return [x**i * y ** (total - i) for total in range(degree + 1) for i in range(total + 1)]


def probability(weights: list[float], values: list[float]) -> float:
    """That a point is of class 1."""
    score = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


def train(points: list[Point], degree: int, rounds: int = 60, rate: float = 0.5) -> list[float]:
    """Weights by gradient descent over all points at once."""
    rows = [(features(x, y, degree), label) for x, y, label in points]
    weights = [0.0] * len(rows[0][0])
    for _ in range(rounds):
        gradient = [0.0] * len(weights)
        for values, label in rows:
            error = probability(weights, values) - label
            for position, value in enumerate(values):
                gradient[position] += error * value
        weights = [weight - rate * step / len(rows) for weight, step in zip(weights, gradient, strict=True)]
    return weights


def accuracy(weights: list[float], points: list[Point], degree: int) -> float:
    """The part of the points that it tells right."""
    right = sum((probability(weights, features(x, y, degree)) > 0.5) == (label > 0.5) for x, y, label in points)
    return right / len(points)


def score_fold(points: dict[str, Any], **setting: dict[str, int]) -> float:
    """Train on all folds but one and score on that. A process of its own imports this module, so this is no lambda.

    What differs from fold to fold comes as the result of a task: the one dependency that has no parameter of its name.
    """
    (given,) = setting.values()
    fold, folds, degree = given["fold"], given["folds"], given["degree"]
    rest = [point for number, point in enumerate(points["train"]) if number % folds != fold]
    return accuracy(train(rest, degree), points["train"][fold::folds], degree)


def choose(**scores: float) -> dict[str, Any]:
    """The mean over the folds of each model, and the best model."""
    means = {}
    for model in DEGREES:
        folds = [score for name, score in scores.items() if name.startswith(f"score_{model}_")]
        means[model] = sum(folds) / len(folds)
    return {"means": means, "best": max(means, key=lambda model: means[model])}


def final(points: dict[str, Any], choose: dict[str, Any]) -> dict[str, Any]:
    """The best model, trained on everything but what was kept for the end, and how it does on that."""
    degree = DEGREES[choose["best"]]
    weights = train(points["train"], degree, rounds=120)
    return {"weights": weights, "accuracy": accuracy(weights, points["test"], degree)}


def build(count: int, folds: int) -> Workflow:
    """Points → for each model and fold a setting and a score → choose → final."""
    workflow = Workflow("ml-pipeline")
    points = workflow.add_task(Task("points", partial(make_points, count)))
    scores = []
    for model, degree in DEGREES.items():
        for fold in range(folds):
            setting = Task(f"setting_{model}_{fold}", partial(dict, fold=fold, folds=folds, degree=degree))
            score = Task(f"score_{model}_{fold}", score_fold, isolation=ISOLATION, timeout=120, retries=1)
            workflow.add_task(setting)
            scores.append(workflow.add_task(score, depends_on=[points, setting]))
    chosen = workflow.add_task(Task("choose", choose), depends_on=scores)
    workflow.add_task(Task("final", final), depends_on=[points, chosen])
    return workflow


def main() -> None:
    parser = argparse.ArgumentParser(description="Choose and train a classifier.")
    parser.add_argument("--points", type=int, default=600, help="how many points are made")
    parser.add_argument("--folds", type=int, default=4, help="folds of the cross-validation")
    parser.add_argument("--state", help="a file that keeps what has completed")
    arguments = parser.parse_args()
    store = SQLiteStateStore(arguments.state) if arguments.state else None
    # Each --points and --folds is a run of its own in the file.
    run_id = f"{arguments.points} points, {arguments.folds} folds"
    workflow = build(arguments.points, arguments.folds).execute(ThreadedExecutor(state_store=store), run_id=run_id)
    results, statistics = workflow.results, workflow.statistics

    trainings = len(DEGREES) * arguments.folds
    print(f"{statistics.total} tasks in {statistics.seconds:.1f} s, {trainings} of them trained a model\n")
    for model, mean in results["choose"]["means"].items():
        each = " ".join(f"{results[f'score_{model}_{fold}']:7.1%}" for fold in range(arguments.folds))
        print(f"{model:8}degree {DEGREES[model]}  folds {each}   mean {mean:.1%}")
    accuracy_at_last = results["final"]["accuracy"]
    print(f"\nbest: {results['choose']['best']}, with {accuracy_at_last:.1%} on points that it has never seen")


if __name__ == "__main__":
    from ml_pipeline import main as start  # a process of its own can import this module by its name, and no script

    start()
