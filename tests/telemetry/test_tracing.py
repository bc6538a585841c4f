"""Spans of runs and attempts, as a collector gets them; and collectors in trouble, which cost nobody else anything."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowweaver.assembly import Assembly, build_engine
from flowweaver.core.changes import Changes
from flowweaver.core.events import RerunRequested, Shutdown, ShutdownRequested
from flowweaver.core.state import RunState
from flowweaver.errors import UserError
from flowweaver.manifest import Accepted, validate
from flowweaver.operator.settings import Settings
from flowweaver.operator.traces import Tracing
from flowweaver.policy import Policy
from flowweaver.ports import RunName
from flowweaver.telemetry import span_sending
from flowweaver.telemetry.metrics import Metrics
from flowweaver.telemetry.span_sending import SpanSender
from flowweaver.telemetry.tracing import Span, read_traceparent, trace_of
from tests.cluster.processes import await_true, free_port
from tests.cluster.workflows import workflow
from tests.telemetry.collector import collecting, hanging

UID = "6f1c2e1e-9d6c-4a58-8a4e-0c4b3f2a1d00"
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def count_nothing(changes: Changes, runs: Mapping[int, RunState], seconds: float) -> None:
    pass


@contextmanager
def traced(state: Path | None, endpoint: str, workers: int = 2) -> Iterator[Assembly]:
    """An engine whose runs are traced as the operator traces them."""
    with build_engine(state, policy=Policy.permissive(), workers=workers) as assembly:
        tracing = Tracing(Settings(tracing_endpoint=endpoint, own_name="operator-0"), assembly.store)
        assembly.engine.set_meter(tracing.beside(count_nothing))
        tracing.start()
        assembly.engine.start()
        try:
            yield assembly
            assembly.engine.stop(5)
        finally:
            tracing.stop()


def submit(assembly: Assembly, name: str, *tasks: dict[str, Any], uid: str = UID, **spec: Any) -> int:
    document = workflow(name, *tasks, **spec)
    document["metadata"] |= {"namespace": "shop", "uid": uid}
    if "annotations" in spec:
        document["metadata"]["annotations"] = document["spec"].pop("annotations")
    verdict = validate(document, Policy.permissive())
    assert isinstance(verdict, Accepted), verdict
    return assembly.engine.submit(RunName(f"shop/{name}", uid), verdict.plan)


def test_a_run_has_a_span_and_each_of_its_attempts_one_below_it():
    began = time.time()
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            flaky = {"shell": {"script": "exit 3"}, "retry": {"limit": 1, "delay": "0s"}, "allowFailure": True}
            outputs = [{"name": "answer", "value": "${tasks.first.result}"}]
            key = submit(assembly, "etl", {"name": "first", "value": 1}, {"name": "flaky", **flaky}, outputs=outputs)
            assembly.engine.wait(key, 30)
        run = one(collector.named("shop/etl"))
        first, second = sorted(collector.named("flaky"), key=lambda span: span.started_at)
        completed = one(collector.named("first"))
        ended = time.time()

    assert len(collector.spans) == 4  # none for what is ours, the evaluation of the outputs
    assert {span.trace for span in collector.spans} == {f"{trace_of(UID):032x}"}
    assert run.parent == ""
    assert {span.parent for span in (first, second, completed)} == {run.number}
    assert len({span.number for span in collector.spans}) == 4
    assert collector.paths == ["/v1/traces"] * len(collector.paths)
    of_run = {"flowweaver.workflow": "etl", "flowweaver.namespace": "shop", "flowweaver.run": UID}
    assert run.attributes == {**of_run, "flowweaver.outcome": "completed"}
    assert run.error is None
    assert completed.attributes == {
        **of_run,
        "flowweaver.task": "first",
        "flowweaver.attempt": 1,
        "flowweaver.body": "value",
        "flowweaver.outcome": "completed",
    }
    assert second.attributes == {
        **of_run,
        "flowweaver.task": "flaky",
        "flowweaver.attempt": 2,
        "flowweaver.body": "shell",
        "flowweaver.outcome": "failed",
        "flowweaver.reason": "TaskFailed",
        "error.type": "ExitCode",
    }
    assert second.error == "TaskFailed"
    assert began <= run.started_at <= min(first.started_at, completed.started_at) + 1e-6
    assert first.started_at <= first.ended_at <= second.started_at <= second.ended_at <= run.ended_at + 1e-6 <= ended
    assert (run.resource["service.name"], run.resource["service.instance.id"]) == ("flowweaver", "operator-0")


def test_the_trace_of_a_run_is_the_same_in_every_process_and_every_version():
    assert f"{trace_of(UID):032x}" == "6d31897363c25308af5a69fd7848bcfd"


def test_how_a_run_and_its_attempts_ended_is_said():
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            slow = {"name": "slow", "shell": {"script": "sleep 60"}}
            failed = submit(assembly, "failed", {**slow, "timeout": "200ms"}, uid="a")
            ended = submit(assembly, "ended", slow, uid="b")
            await_true("it runs", lambda: assembly.engine.snapshot(ended).tasks[0].phase == "running")
            assembly.engine.request(ShutdownRequested(ended, Shutdown.TERMINATE))
            assembly.engine.wait(failed, 30)
            assembly.engine.wait(ended, 30)
        spans = {(span.attributes["flowweaver.workflow"], span.name): span for span in collector.spans}

    assert spans["failed", "slow"].attributes["flowweaver.outcome"] == "timed_out"
    assert spans["failed", "slow"].error == "Timeout"
    assert spans["failed", "shop/failed"].error == "Timeout"
    assert spans["ended", "slow"].attributes["flowweaver.outcome"] == "cancelled"
    assert spans["ended", "shop/ended"].attributes["flowweaver.outcome"] == "cancelled"
    assert spans["ended", "shop/ended"].error is None


def test_what_runs_again_is_told_in_the_same_trace_beside_the_first_time(tmp_path):
    gate = tmp_path / "gate"
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            key = submit(assembly, "etl", {"name": "gated", "shell": {"script": f"test -e {gate}"}})
            assembly.engine.wait(key, 30)
            gate.touch()
            assembly.engine.request(RerunRequested(key, "again"))
            await_true("it completes", lambda: assembly.engine.snapshot(key).head.phase == "completed")
        runs = sorted(collector.named("shop/etl"), key=lambda span: span.started_at)
        attempts = sorted(collector.named("gated"), key=lambda span: span.started_at)

    assert [span.attributes["flowweaver.outcome"] for span in runs] == ["failed", "completed"]
    assert len({span.trace for span in (*runs, *attempts)}) == 1
    assert len({span.number for span in (*runs, *attempts)}) == 4
    assert [span.parent for span in attempts] == [span.number for span in runs]
    assert runs[0].ended_at <= runs[1].started_at


def test_a_rerun_that_a_restart_interrupts_begins_where_its_attempts_did(tmp_path):
    state, gate = tmp_path / "state.db", tmp_path / "gate"
    script = f"test -e {gate} || exit 1; rm {gate}; test -e {gate}.2 || sleep 60"
    with collecting() as collector:
        with traced(state, collector.endpoint) as assembly:
            key = submit(assembly, "etl", {"name": "gated", "shell": {"script": script}})
            assembly.engine.wait(key, 30)
            gate.touch()
            assembly.engine.request(RerunRequested(key, "again"))
            await_true("it runs again", lambda: not gate.exists())
            assembly.engine.drain()
            assembly.engine.stop()
        gate.touch()
        gate.with_name("gate.2").touch()
        with traced(state, collector.endpoint) as assembly:
            assembly.engine.wait(key, 30)
        first, second = sorted(collector.named("shop/etl"), key=lambda span: span.ended_at)
        attempts = sorted(collector.named("gated"), key=lambda span: span.started_at)

    assert [span.attributes["flowweaver.outcome"] for span in attempts] == ["failed", "interrupted", "completed"]
    assert [span.parent for span in attempts] == [first.number, second.number, second.number]
    assert first.ended_at <= second.started_at <= attempts[2].started_at


def test_a_run_goes_on_from_the_span_that_an_annotation_names():
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            task = {"name": "only", "value": 1}
            wanted = {"flowweaver.io/traceparent": PARENT}
            key = submit(assembly, "etl", task, annotations=wanted)
            silent = {"flowweaver.io/traceparent": PARENT.removesuffix("01") + "00"}
            unsampled = submit(assembly, "quiet", task, uid="another", annotations=silent)
            for each in (key, unsampled):
                assembly.engine.wait(each, 30)
        run, attempt = one(collector.named("shop/etl")), one(collector.named("only"))

    assert (run.trace, run.parent) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert (attempt.trace, attempt.parent) == (run.trace, run.number)
    assert not collector.named("shop/quiet")


@pytest.mark.parametrize(
    "text",
    ["", PARENT.upper(), PARENT[:-1], f"01{PARENT[2:]}", f"00-{'0' * 32}-00f067aa0ba902b7-01", "00-x-y-01"],
)
def test_what_is_no_traceparent_is_none(text):
    assert read_traceparent(text) is None


def test_nothing_of_a_parameter_a_result_or_an_error_is_in_what_is_sent():
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            tasks = [
                {"name": "says", "value": "${params.password}-SECRET-result"},
                {"name": "fails", "shell": {"script": "echo SECRET-stderr >&2; exit 1"}},
                {"name": "raises", "python": {"source": "def main():\n    raise ValueError('SECRET-error')\n"}},
            ]
            params = [{"name": "password", "value": "SECRET-param"}]
            key = submit(assembly, "etl", *tasks, params=params, failurePolicy="Continue")
            assembly.engine.wait(key, 30)
        assert len(collector.spans) == 4

    assert not [body for body in collector.bodies if b"SECRET" in body]


LIFE = """
import sys
from pathlib import Path
from tests.telemetry.test_tracing import submit, traced

state, ran, endpoint = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with traced(state, endpoint) as assembly:
    wait = f"echo x >> {ran}; test $(wc -l < {ran}) -gt 2 || sleep 60"
    tasks = [{"name": "first", "value": 1}, {"name": "hit", "dependsOn": ["first"], "shell": {"script": wait}}]
    assembly.engine.wait(submit(assembly, "killed", *tasks), 60)
"""


@pytest.mark.slow
def test_a_run_whose_process_was_killed_twice_is_one_trace_with_its_real_start(tmp_path):
    ran = tmp_path / "ran"
    ran.touch()
    root = Path(__file__).parents[2]
    with collecting() as collector:
        for life in range(3):
            command = [sys.executable, "-c", LIFE, str(tmp_path / "state.db"), str(ran), collector.endpoint]
            process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."})
            try:
                if life < 2:
                    await_true("the body runs", lambda life=life: len(ran.read_text().split()) > life)
                    sent = 1 + life  # `first`, and the attempt that the life before was killed with
                    await_true("what had ended is sent", lambda sent=sent: len(collector.spans) == sent)
                    process.send_signal(signal.SIGKILL)
                else:
                    assert process.wait(60) == 0, process.stderr.read()
            finally:
                process.kill()
                process.wait()
                process.stderr.close()
        first, run = one(collector.named("first")), one(collector.named("shop/killed"))
        attempts = sorted(collector.named("hit"), key=lambda span: span.attributes["flowweaver.attempt"])

    assert [span.attributes["flowweaver.outcome"] for span in attempts] == ["crashed", "crashed", "completed"]
    assert len({span.trace for span in (first, run, *attempts)}) == 1
    assert {span.parent for span in (first, *attempts)} == {run.number}
    assert run.started_at == pytest.approx(first.started_at, abs=1e-3)
    starts = [span.started_at for span in attempts]
    assert first.ended_at <= starts[0] < starts[1] < starts[2]
    # Each has its own start, also those that a later life tells of: an interpreter takes longer than that to start.
    assert min(starts[1] - starts[0], starts[2] - starts[1]) > 0.1


# ------------------------------------------------------------------------------------------------ collectors in trouble


def refused() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize("trouble", [pytest.param("hangs", marks=pytest.mark.slow), "refuses"])
def test_a_collector_that_is_in_trouble_slows_nothing_and_stops_nothing(trouble, monkeypatch):
    monkeypatch.setattr(span_sending, "MOST_WAITING", 50)
    with hanging() as silent:
        endpoint = silent if trouble == "hangs" else refused()
        began = time.monotonic()
        with traced(None, endpoint) as assembly:
            tasks = [{"name": f"task-{number}", "value": number} for number in range(300)]
            snapshot = assembly.engine.wait(submit(assembly, "etl", *tasks), 60)
            took = time.monotonic() - began
        stopped = time.monotonic() - began - took

    assert snapshot.head.phase == "completed"
    assert took < 30
    assert stopped < 20


def spans(number: int) -> list[Span]:
    return [
        Span(trace=1, number=each + 1, parent=None, name="x", started_at=1.0, ended_at=2.0, attributes={})
        for each in range(number)
    ]


def test_spans_for_which_there_is_no_room_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(span_sending, "MOST_WAITING", 10)
    with collecting() as collector:
        metrics = Metrics()
        sender = SpanSender(collector.endpoint, about={}, counted=metrics.spans)
        for span in spans(15):
            sender.put(span)
        assert sender.dropped == 5
        sender.start()
        sender.stop(10)

    assert len(collector.spans) == sender.sent == 10
    assert b'flowweaver_spans_total{result="sent"} 10.0' in metrics.exposition()
    assert b'flowweaver_spans_total{result="dropped"} 5.0' in metrics.exposition()


def test_trouble_is_told_once_without_the_password_in_the_address_and_so_is_its_end(monkeypatch, caplog):
    monkeypatch.setattr(span_sending, "EVERY_SECONDS", 0.01)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    caplog.set_level(logging.DEBUG, logger="flowweaver")
    port = free_port()
    answers = iter([False, False, True, True])
    sender = SpanSender(f"http://user:SECRET@127.0.0.1:{port}", about={}, exporter=Answering(answers))
    sender.start()
    for number in range(1, 5):
        sender.put(spans(1)[0])
        await_true("it is tried", lambda number=number: sender.sent + sender.dropped == number)
    sender.stop(10)

    assert [record.getMessage() for record in caplog.records] == [
        f"the collector at 127.0.0.1:{port} does not take spans; they are lost until it does",
        f"the collector at 127.0.0.1:{port} takes spans again; 2 were lost",
    ]


class Answering:
    """An exporter that succeeds or fails as it is told."""

    def __init__(self, answers: Iterator[bool]) -> None:
        self._answers = answers

    def export(self, spans: Any) -> Any:
        kinds = span_sending.SpanExportResult
        return kinds.SUCCESS if next(self._answers) else kinds.FAILURE

    def shutdown(self) -> None:
        pass


# ------------------------------------------------------------------------------------------------------------ switching


def test_a_sampler_of_the_environment_is_heard_and_takes_runs_as_a_whole(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    with collecting() as collector:
        with traced(None, collector.endpoint) as assembly:
            keys = [submit(assembly, f"run-{n}", {"name": "only", "value": n}, uid=f"uid-{n}") for n in range(40)]
            for key in keys:
                assembly.engine.wait(key, 30)
        by_trace: dict[str, int] = {}
        for span in collector.spans:
            by_trace[span.trace] = by_trace.get(span.trace, 0) + 1

    assert 5 < len(by_trace) < 35
    assert set(by_trace.values()) == {2}


def test_the_environment_says_more_about_the_service_and_gives_headers(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    with collecting() as collector, traced(None, collector.endpoint) as assembly:
        assembly.engine.wait(submit(assembly, "etl", {"name": "only", "value": 1}), 30)

    resource = collector.spans[0].resource
    assert (resource["service.name"], resource["deployment.environment"]) == ("nightly", "test")
    assert {headers["authorization"] for headers in collector.headers} == {"Bearer token"}


OFF = """
import os, sys
from flowweaver.operator import service
from flowweaver.operator.settings import Settings
from flowweaver.operator.traces import Tracing
from flowweaver.stores import MemoryStore

def switch(endpoint, **environment):
    os.environ |= environment
    tracing = Tracing(Settings(tracing_endpoint=endpoint), MemoryStore())
    tracing.start(), tracing.stop()

switch("")
switch("http://127.0.0.1:9", OTEL_TRACES_EXPORTER="none")
switch("http://127.0.0.1:9", OTEL_TRACES_EXPORTER="otlp", OTEL_SDK_DISABLED="true")
sys.exit(sum(name.startswith("opentelemetry") for name in sys.modules))
"""


def test_nothing_of_opentelemetry_is_imported_where_it_is_off():
    assert subprocess.run([sys.executable, "-c", OFF], check=False).returncode == 0


def test_without_the_extra_an_endpoint_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "flowweaver.telemetry.span_sending")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(UserError, match=r"flowweaver-operator\[tracing\]"),
        build_engine(None, policy=Policy(), workers=1) as assembly,
    ):
        Tracing(Settings(tracing_endpoint="http://127.0.0.1:9"), assembly.store)


def one(found: list[Any]) -> Any:
    (only,) = found
    return only
