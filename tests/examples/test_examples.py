"""Every example does what it says. An example without a test here fails the first test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowweaver.manifest import Accepted, load_documents, validate
from flowweaver.policy import Policy

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowweaver", "run", *arguments, "-o", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_every_example_has_a_test_here():
    assert sorted(file.name for file in EXAMPLES.iterdir() if file.is_file()) == [
        "async_aggregation.py",
        "crontab",
        "demo.py",
        "etl.yaml",
        "etl_pipeline.py",
        "failures.yaml",
        "hello.yaml",
        "ml_pipeline.py",
        "parallel_run.py",
        "resume_after_kill.py",
    ]


@pytest.mark.parametrize("name", ["hello", "failures"])
def test_an_example_for_the_default_installation_is_accepted_by_its_policy(name):
    (document,) = load_documents((EXAMPLES / f"{name}.yaml").read_text())

    assert isinstance(validate(document, Policy()), Accepted)


def test_the_etl_example_needs_what_its_comment_says():
    (document,) = load_documents((EXAMPLES / "etl.yaml").read_text())

    refused = validate(document, Policy())

    assert [problem.reason for problem in refused.problems] == ["BodyNotAllowed", "BodyNotAllowed"]
    assert "--unsafe-bodies" in str(refused.problems[0])


def test_hello_completes_and_greets(tmp_path):
    result = run(str(EXAMPLES / "hello.yaml"), folder=tmp_path)

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["status"]["outputs"] == [{"name": "letters", "value": 5}]


def test_failures_fails_and_reports_what_went_wrong(tmp_path):
    result = run(str(EXAMPLES / "failures.yaml"), folder=tmp_path)

    tasks = {task["name"]: task for task in json.loads(result.stdout)["status"]["tasks"]}
    assert result.returncode == 1
    assert {name: task["phase"] for name, task in tasks.items()} == {
        "apples": "Completed",
        "pears": "Failed",
        "basket": "Skipped",
        "report": "Completed",
    }
    assert tasks["pears"]["reason"] == "ExpressionError"


def test_the_demo_runs_a_real_etl_and_then_nothing_again():
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    first, second = result.stdout.split("The same command again:")
    for task in ("orders", "rates", "transform", "load"):
        assert f"{task:9}  Completed  in " in first, task
    assert "answered 503" in first
    assert "4,Barbara,7.20" in first
    assert "etl has already completed" in second
    assert "nothing runs again" in second
    assert "The server heard 3 requests from the first run, 0 from the second." in second
