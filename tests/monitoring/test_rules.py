"""The shipped alerts: promtool takes them, and each has what somebody needs who is woken by it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from flowweaver.telemetry.metrics import CATALOGUE
from tests.docs.blocks import ROOT

RULES = ROOT / "charts/flowweaver/files/rules/flowweaver.yaml"
UNIT_TESTS = Path(__file__).with_name("rules_test.yaml")
ALERTS = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\b(?:flowweaver|workqueue|controller_runtime|rest_client)_[a-z_]+")


def by_name(alert):
    return alert["alert"]


def promtool(*arguments):
    """What it says; a test without it is skipped, but not where everything must be there."""
    program = shutil.which("promtool")
    if program is None:
        lacking = "there is no promtool: install Debian's package prometheus"
        (pytest.fail if os.environ.get("CI", "").lower() in {"1", "true"} else pytest.skip)(lacking)
    found = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def test_promtool_takes_the_rules():
    status, said = promtool("check", "rules", RULES)
    assert status == 0, said
    assert f"{len(ALERTS)} rules found" in said


def test_each_rule_does_what_its_unit_tests_say():
    status, said = promtool("test", "rules", UNIT_TESTS)
    assert status == 0, said


def test_each_alert_has_a_unit_test_in_which_it_fires():
    text = UNIT_TESTS.read_text()
    assert [alert["alert"] for alert in ALERTS if f'alertname="{alert["alert"]}"' not in text] == []


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_says_how_bad_it_is_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert {*alert["annotations"]} == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["summary"].endswith(".")
    page, _, section = alert["annotations"]["runbook_url"].partition("#")
    sections = re.split(r"^## ", (ROOT / page).read_text(), flags=re.MULTILINE)
    (found,) = [text for text in sections if text.partition("\n")[0].lower() == section]
    for part in ("**It means:**", "**Look at**") if "| what to do |" in found else ("**It means:**", "**Do"):
        assert part in found


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_asks_only_for_metrics_that_there_are(alert):
    for name in METRIC.findall(alert["expr"]):
        assert re.sub(r"_bucket$", "", name) in CATALOGUE, name
    selected = re.findall(r"([a-z_]+)\{([^}]*)\}", alert["expr"])
    assert selected
    assert all('job="flowweaver"' in labels for _, labels in selected), "the chart puts the release in its place"


def test_every_section_of_the_runbooks_is_of_an_alert():
    sections = re.findall(r"^## (.*)$", (ROOT / "docs/runbooks.md").read_text(), flags=re.MULTILINE)
    assert sections[:] == [alert["alert"] for alert in ALERTS]
