"""The catalogue of metrics: every one is there, says what it means, and has few series however much happens."""

from __future__ import annotations

import re

import pytest

from flowweaver.core.phases import RunPhase
from flowweaver.manifest import reasons
from flowweaver.policy import Policy
from flowweaver.runners import registry
from flowweaver.telemetry.catalogue import OTHER
from flowweaver.telemetry.catalogue_runs import BODIES, REFUSALS
from flowweaver.telemetry.metrics import CATALOGUE, Metrics
from tests.docs.blocks import ROOT
from tests.monitoring.samples import samples


def shown(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample by its name and the values of its labels."""
    return samples(metrics.exposition().decode())


@pytest.mark.parametrize("metric", CATALOGUE.values(), ids=lambda metric: metric.name)
def test_a_metric_says_what_it_means_and_what_a_rise_tells(metric):
    assert re.fullmatch(r"(flowweaver|workqueue|controller_runtime|rest_client)_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds")
    assert metric.meaning.endswith("."), metric.meaning
    assert metric.rise.endswith("."), metric.rise
    assert "|" not in metric.help, "it stands in a table"


def test_what_has_never_happened_is_shown_at_zero():
    values = shown(Metrics())

    assert values["flowweaver_workflows_finished_total", "failed"] == 0
    assert values["flowweaver_task_attempts_total", "http", "timed_out"] == 0
    assert values["flowweaver_store_errors_total", "full"] == 0
    assert values["flowweaver_workflow_duration_seconds_count", "completed"] == 0


def test_a_value_that_nobody_wrote_down_makes_no_series_of_its_own():
    metrics = Metrics()
    before = len(shown(metrics))
    for number in range(100):
        metrics.attempt_ended(f"kind-{number}", "completed")
        metrics.workflow_refused(f"reason-{number}")

    values = shown(metrics)
    assert len(values) == before
    assert values["flowweaver_task_attempts_total", OTHER, "completed"] == 100
    assert values["flowweaver_workflows_refused_total", OTHER] == 100


def test_the_values_written_down_are_those_that_there_are():
    words = {value for name, value in vars(reasons).items() if name.isupper()}
    assert {*REFUSALS} == words | {OTHER}
    assert {*BODIES} == {kind for kind in registry(Policy()) if kind != "outputs"} | {OTHER}
    assert set(CATALOGUE["flowweaver_workflows"].labels["phase"]) == {phase.value for phase in RunPhase}


def test_a_gauge_that_can_not_be_read_hides_no_other():
    metrics = Metrics()
    metrics.watch("flowweaver_store_wal_bytes", lambda: float("nan"))
    metrics.watch("flowweaver_workers", lambda: 4)
    values = shown(metrics)

    assert values["flowweaver_workers",] == 4
    assert values["flowweaver_store_wal_bytes",] != values["flowweaver_store_wal_bytes",]


def test_all_that_workqueues_usually_show_is_shown():
    wanted = {
        "workqueue_depth",
        "workqueue_adds_total",
        "workqueue_queue_duration_seconds",
        "workqueue_work_duration_seconds",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
        "workqueue_retries_total",
    }
    assert {name for name in CATALOGUE if name.startswith("workqueue_")} == wanted
    assert all(CATALOGUE[name].labels.keys() == {"name"} for name in wanted)


def test_the_page_of_metrics_has_every_one_of_them():
    text = (ROOT / "docs/metrics.md").read_text()
    assert [name for name in CATALOGUE if f"| `{name}` |" not in text] == []
