"""The log lines of a run: one for each step, with workflow, task and attempt, and never what a user's code says."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowweaver.assembly import Assembly, build_engine
from flowweaver.core.events import RerunRequested, SettingsRequested, Shutdown, ShutdownRequested
from flowweaver.operator.run_lines import tell_of_run, tell_of_task
from flowweaver.policy import Policy
from flowweaver.ports import Notice, RunNotice
from flowweaver.telemetry import logs
from tests.cluster.control_plane import Access
from tests.cluster.kubectl import Kubectl
from tests.cluster.operators import Operator
from tests.cluster.processes import await_true
from tests.cluster.workflows import await_phase, finish, workflow
from tests.telemetry.collector import collecting
from tests.telemetry.test_tracing import refused, submit

Lines = Callable[[], list[str]]


def tell(notices: Sequence[Notice]) -> None:
    for notice in notices:
        if isinstance(notice, RunNotice):
            tell_of_run(notice)
        else:
            tell_of_task(notice)


@contextmanager
def told(state: Path | None = None) -> Iterator[Assembly]:
    with build_engine(state, policy=Policy.permissive(), workers=1) as assembly:
        assembly.engine.add_listener(tell)
        with assembly.engine:
            yield assembly


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What was told, each as a line without its time and seconds."""
    caplog.set_level(logging.INFO, logger=logs.RUNS)

    def read() -> list[str]:
        for record in caplog.records:
            record.seconds = None
        return [logs.TextLines().format(record).split(" ", 1)[1] for record in caplog.records]

    return read


def run(lines: Lines, *tasks: dict[str, Any], **spec: Any) -> list[str]:
    with told() as assembly:
        assembly.engine.wait(submit(assembly, "etl", *tasks, **spec), 30)
    return lines()


def test_a_run_that_completes_has_a_line_for_each_step(lines):
    assert run(lines, {"name": "load", "value": 1}, {"name": "pause", "wait": {"duration": "10ms"}}) == [
        "INFO a task has started workflow=shop/etl task=load attempt=1",
        "INFO a workflow has started workflow=shop/etl phase=running",
        "INFO a task has completed workflow=shop/etl task=load attempt=1",
        "INFO a task has started workflow=shop/etl task=pause attempt=1",
        "INFO a task waits for its time workflow=shop/etl task=pause attempt=1",
        "INFO a task has completed workflow=shop/etl task=pause attempt=1",
        "INFO a workflow has completed workflow=shop/etl phase=completed",
    ]


def test_a_failure_has_its_reason_and_the_class_of_its_error_and_not_its_text(lines):
    fails = {"name": "load", "shell": {"script": "echo SECRET >&2; exit 1"}, "retry": {"limit": 1, "delay": "0s"}}
    after = {"name": "after", "dependsOn": ["load"], "value": 1}
    again = "an attempt has failed, and the task is tried again"

    assert run(lines, fails, after)[2:] == [
        f"WARNING {again} workflow=shop/etl task=load attempt=1 reason=Backoff error=ExitCode",
        "INFO a task has started workflow=shop/etl task=load attempt=2",
        "WARNING a task has failed workflow=shop/etl task=load attempt=2 reason=TaskFailed error=ExitCode",
        "INFO a task has been skipped workflow=shop/etl task=after attempt=0 reason=DependencyNotCompleted",
        "WARNING a workflow has failed workflow=shop/etl phase=failed reason=TaskFailed",
    ]


def test_an_end_from_outside_a_pause_and_a_second_run_have_their_lines(lines, tmp_path):
    gate = tmp_path / "gate"
    slow = {"name": "load", "shell": {"script": f"test -e {gate} || sleep 60"}}
    with told() as assembly:
        engine = assembly.engine
        key = submit(assembly, "etl", slow, suspend=True)
        await_true("it is suspended", lambda: engine.snapshot(key).head.phase == "suspended")
        engine.request(SettingsRequested(key, suspended=False))
        await_true("it runs", lambda: engine.snapshot(key).tasks[0].phase == "running")
        engine.request(ShutdownRequested(key, Shutdown.TERMINATE))
        engine.wait(key, 30)
        gate.touch()
        engine.request(RerunRequested(key, "again"))
        await_true("it completes", lambda: engine.snapshot(key).head.phase == "completed")

    # The body that was ended may still be there, and then the task can not start in the moment when it is asked for.
    assert [line.replace("=pending", "=running") for line in lines() if "has started" not in line] == [
        "INFO a workflow is suspended no more workflow=shop/etl phase=running",
        "INFO a task has been cancelled workflow=shop/etl task=load attempt=1 reason=Terminated",
        "INFO a workflow is to end early workflow=shop/etl phase=cancelled reason=Terminate",
        "INFO a workflow has been cancelled workflow=shop/etl phase=cancelled reason=Terminated",
        "INFO a task is to run again workflow=shop/etl task=load",
        "INFO a workflow runs again where it did not complete workflow=shop/etl phase=running",
        "INFO a task has completed workflow=shop/etl task=load attempt=2",
        "INFO a workflow has completed workflow=shop/etl phase=completed",
    ]


def test_what_the_end_of_the_process_interrupts_has_a_line(lines, tmp_path):
    with told(tmp_path / "state.db") as assembly:
        submit(assembly, "etl", {"name": "load", "shell": {"script": "sleep 60"}})
        await_true("it runs", lambda: any("a task has started" in line for line in lines()))

    assert (
        lines()[-1] == "INFO an attempt was interrupted, and the task runs again workflow=shop/etl task=load attempt=1"
    )


# --------------------------------------------------------------------------------------------------------------- levels


def test_each_module_has_a_level_of_its_own(capsys):
    names = ["flowweaver.stores.writer", "flowweaver.runs", "flowweaver.engine"]
    before = {name: logging.getLogger(name).level for name in (*names, "flowweaver.stores", "")}
    handlers = logging.getLogger().handlers[:]
    try:
        levels = logs.read_levels("flowweaver.stores=debug,flowweaver.runs=error,flowweaver.nothing=debug")
        listener = logs.set_up(style="text", level="warning", levels=levels)
        for name in names:
            for level in (logging.DEBUG, logging.WARNING, logging.ERROR):
                logging.getLogger(name).log(level, "%s", name)
        listener.stop()
        atexit.unregister(listener.stop)
    finally:
        logging.getLogger().handlers[:] = handlers
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    found = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]

    assert found == [
        'WARNING there is no module "flowweaver.nothing": its level has no effect',
        "DEBUG flowweaver.stores.writer",
        "WARNING flowweaver.stores.writer",
        "ERROR flowweaver.stores.writer",
        "ERROR flowweaver.runs",
        "WARNING flowweaver.engine",
        "ERROR flowweaver.engine",
    ]


# -------------------------------------------------------------------------------------------------------- the operator


@pytest.mark.control_plane
@pytest.mark.slow
def test_a_workflow_has_its_lines_and_one_trace_through_a_kill_until_it_is_gone(
    operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with collecting() as collector:
        victim = operator(unsafeBodies=["shell"], tracing={"endpoint": collector.endpoint})
        slow = {"name": "slow", "dependsOn": ["first"], "shell": {"script": f"test -e {gate} || sleep 60"}}
        kubectl.apply(workflow("killed", {"name": "first", "value": 1}, slow))
        await_true("it runs", lambda: "task=slow attempt=1" in victim.output())
        await_true("what had completed is sent", lambda: collector.named("first"))
        victim.kill()
        gate.touch()
        victim.start()
        finish(kubectl, "killed")
        kubectl("delete", "fw", "killed", "--timeout=60s")
        kubectl.apply(workflow("refused", {"name": "first", "dependsOn": ["nothing"], "value": 1}))
        await_true("it is refused", lambda: "a workflow was refused" in victim.output())
        await_true("it is forgotten", lambda: "forgotten" in victim.output())
        assert victim.terminate() == 0
    name = f"workflow={kubectl.namespace}/killed"
    steps = [
        f"INFO a workflow was accepted {name}",
        f"INFO a workflow has started {name} phase=running",
        f"INFO a task has completed {name} task=first attempt=1",
        f"INFO a task has started {name} task=slow attempt=1",
        f"INFO a workflow goes on after a restart {name} phase=running",
        f"WARNING an attempt was lost with its process, and the task runs again {name} task=slow attempt=1",
        f"INFO a task has started {name} task=slow attempt=2",
        f"INFO a task has completed {name} task=slow attempt=2",
        f"INFO a workflow has completed {name} phase=completed",
        f"INFO a workflow is gone, and its run is forgotten {name}",
        f"INFO a workflow was refused workflow={kubectl.namespace}/refused reason=",
    ]
    output = victim.output()
    assert [step for step in steps if step not in output] == []
    spans = {(span.name, span.attributes.get("flowweaver.attempt")): span for span in collector.spans}
    run = spans[f"{kubectl.namespace}/killed", None]
    assert set(spans) == {(run.name, None), ("first", 1), ("slow", 1), ("slow", 2)}
    assert {span.trace for span in spans.values()} == {run.trace}
    assert {span.parent for span in spans.values()} == {"", run.number}
    assert spans["slow", 1].attributes["flowweaver.outcome"] == "crashed"


SECRET = "hunter2-SECRET"
RAISES = f"def main(given=None):\n    raise ValueError('{SECRET}', given)\n"


@pytest.mark.control_plane
@pytest.mark.slow
@pytest.mark.parametrize("style", ["text", "json"])
def test_no_secret_is_in_any_line_wherever_it_comes_in(
    style: str, operator: Callable[..., Operator], kubectl: Kubectl, tmp_path: Path, control_plane: Access
) -> None:
    """With every level at debug, a collector that refuses, a kill and a restart."""
    url = f"http://user:{SECRET}@127.0.0.1:9/{SECRET}?token={SECRET}#{SECRET}"
    again = {"retry": {"limit": 1, "delay": "0s"}}
    tasks = [
        {"name": "result", "value": f"${{params.password}} {SECRET}"},
        {"name": "expression", "value": "${int(params.password)}"},
        {
            "name": "env",
            "shell": {"script": "echo $PASSWORD >&2; exit 1", "env": [{"name": "PASSWORD", "value": SECRET}]},
        },
        {"name": "stdout", "shell": {"command": ["/bin/sh", "-c", f"echo {SECRET}; exit 1"], "resultFrom": "Json"}},
        {"name": "no-json", "shell": {"script": f"echo {SECRET}", "resultFrom": "Json"}},
        {"name": "no-program", "shell": {"command": [f"/{SECRET}"]}},
        {"name": "process", "python": {"source": RAISES, "args": {"given": "${params.password}"}}},
        {"name": "thread", "python": {"source": RAISES, "isolation": "Thread"}},
        {"name": "exits", "python": {"source": f"def main():\n    raise SystemExit('{SECRET}')\n"}},
        {"name": "syntax", "python": {"source": f"def main(:\n    '{SECRET}'\n"}},
        {"name": "refused", "http": {"url": url, "headers": [{"name": "Authorization", "value": f"Bearer {SECRET}"}]}},
        {
            "name": "posted",
            "http": {"url": url, "method": "POST", "body": SECRET, "query": [{"name": "k", "value": SECRET}]},
        },
        {"name": "no-address", "http": {"url": "${params.password}://x"}},
        {"name": "no-host", "http": {"url": f"http://user:{SECRET}@nowhere.invalid/"}},
    ]
    params = [{"name": "password", "value": SECRET}]
    outputs = [{"name": "password", "value": "${params.password}"}]
    spec: dict[str, Any] = {"params": params, "outputs": outputs, "failurePolicy": "Continue"}
    victim = operator(
        unsafeBodies=["shell", "python.source", "thread"],
        httpAllow=["127.0.0.0/8"],
        graceSeconds=1,
        log={"level": "debug", "levels": {"flowweaver": "debug"}},
        tracing={"endpoint": refused().replace("//", f"//user:{SECRET}@")},
        env={
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_RESOURCE_ATTRIBUTES": f"key={SECRET}",
            "SOME_PASSWORD": SECRET,
            "FLOWWEAVER_LOG_FORMAT": style,
        },
    )
    kubectl.apply(
        workflow("secrets", *({**task, **again} for task in tasks), **spec),
        workflow("slow", {"name": "slow", "shell": {"script": f"sleep 60 # {SECRET}"}}, **spec),
        workflow("wrong", {"name": "wrong", "value": f"${{nothing.like['{SECRET}']}}"}, **spec),
    )
    assert finish(kubectl, "secrets")["phase"] == "Failed"
    await_phase(kubectl, "slow", "Running")
    await_true("the collector is missed", lambda: "does not take spans" in victim.output())
    victim.kill()
    victim.start()
    await_true("it has gone on", lambda: victim.output().count("lost with its process") >= 1)
    assert victim.terminate() == 0

    output = victim.output()
    assert all(task["name"] in output for task in tasks)
    assert [line for line in output.splitlines() if "SECRET" in line] == []
