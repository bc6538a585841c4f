"""What the engine's turns come to in numbers, with a real engine and bodies that do as they are told."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

from flowweaver.core.events import Completed, Failed, RerunRequested, SettingsRequested
from flowweaver.core.phases import Reason
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.operator.metering import RunMeter
from flowweaver.ports import RunName
from flowweaver.stores import MemoryStore, SQLiteStore
from flowweaver.telemetry.metrics import Metrics
from tests.monitoring.test_metrics import shown

WAIT = 60.0


class Metered:
    """An engine whose turns are counted. Use it as a context manager."""

    def __init__(self, run, *, store=None, workers=2):
        clock = SystemClock()
        self.metrics = Metrics()
        self._executor = ThreadedExecutor(run, workers, clock)
        self.engine = Engine(store=store or MemoryStore(), executor=self._executor, clock=clock, workers=workers)
        self.engine.set_meter(RunMeter(self.metrics, clock.now))

    def __enter__(self):
        self.engine.start()
        return self

    def __exit__(self, *_):
        self.engine.stop()
        self._executor.close()

    def finish(self, plan, name="w"):
        """Run it to its end; gives its key."""
        key = self.engine.submit(RunName(name), plan)
        self.engine.wait(key, WAIT)
        return key

    def __getitem__(self, key):
        return shown(self.metrics)[key if isinstance(key, tuple) else (key,)]


def task(name, *after, **fields):
    return TaskPlan(name=name, kind=fields.pop("kind", "value"), depends_on=after, **fields)


def well(_):
    return Completed()


def test_attempts_are_counted_by_body_and_outcome():
    def run(attempt):
        return Failed(message="no") if attempt.task.name == "bad" else Completed()

    plan = RunPlan(tasks=(task("good"), task("bad", "good", kind="http")))
    with Metered(run) as seen:
        seen.finish(plan)
        assert seen["flowweaver_task_attempts_total", "value", "completed"] == 1
        assert seen["flowweaver_task_attempts_total", "http", "failed"] == 1
        assert seen["flowweaver_workflows_finished_total", "failed"] == 1
        assert seen["flowweaver_workflow_duration_seconds_count", "failed"] == 1
        assert seen["flowweaver_task_duration_seconds_count", "value"] == 1
        assert seen["flowweaver_workflow_start_latency_seconds_count"] == 1
        assert seen["flowweaver_task_queue_wait_seconds_count"] == 2
        assert seen["flowweaver_store_commit_duration_seconds_count"] >= 3


def test_each_retry_is_counted_and_the_last_failure_is_none():
    def run(_):
        return Failed(reason=Reason.TASK_FAILED, message="no")

    plan = RunPlan(tasks=(task("t", retry=RetryPolicy(limit=2, delay_seconds=0.01)),))
    with Metered(run) as seen:
        seen.finish(plan)
        assert seen["flowweaver_task_retries_total", "value", "TaskFailed"] == 2
        assert seen["flowweaver_task_attempts_total", "value", "failed"] == 3


def test_a_timeout_is_an_outcome_and_a_reason_to_retry():
    stuck = threading.Event()

    def run(attempt):
        if attempt.id.number == 1:
            stuck.wait(WAIT)
        return Completed()

    plan = RunPlan(tasks=(task("t", timeout_seconds=0.2, retry=RetryPolicy(limit=1, delay_seconds=0.01)),))
    with Metered(run) as seen:
        key = seen.engine.submit(RunName("w"), plan)
        while not seen["flowweaver_task_attempts_total", "value", "timed_out"]:
            time.sleep(0.01)
        stuck.set()
        seen.engine.wait(key, WAIT)
        assert seen["flowweaver_task_retries_total", "value", "Timeout"] == 1
        assert seen["flowweaver_task_attempts_total", "value", "completed"] == 1


def test_an_expression_that_fails_is_counted_also_where_it_is_an_output():
    def run(attempt):
        return Failed(reason=Reason.EXPRESSION_ERROR, message="no") if attempt.task.internal else Completed()

    with Metered(run) as seen:
        seen.finish(RunPlan(tasks=(task("t"), task("(outputs)", "t", kind="outputs", internal=True))))
        assert seen["flowweaver_expression_errors_total"] == 1
        assert seen["flowweaver_task_attempts_total", "other", "failed"] == 0, "it is no attempt of the user's"


def test_a_task_waits_from_when_its_dependencies_have_ended():
    def run(attempt):
        time.sleep(0.3 if attempt.task.name == "slow" else 0.0)
        return Completed()

    with Metered(run) as seen:
        seen.finish(RunPlan(tasks=(task("slow"), task("next", "slow"))))
        assert seen["flowweaver_task_queue_wait_seconds_count"] == 2
        assert seen["flowweaver_task_queue_wait_seconds_sum"] < 0.25, "the time of the dependency is no waiting"


def test_a_task_that_finds_no_worker_waits():
    def run(_):
        time.sleep(0.2)
        return Completed()

    with Metered(run, workers=1) as seen:
        seen.finish(RunPlan(tasks=(task("a"), task("b"), task("c"))))
        assert seen["flowweaver_task_queue_wait_seconds_sum"] > 0.5, "0.2 for the second, 0.4 for the third"


def test_the_time_that_a_run_was_suspended_is_no_waiting():
    with Metered(well) as seen:
        key = seen.engine.submit(RunName("w"), RunPlan(tasks=(task("t"),), suspended=True))
        time.sleep(0.5)
        seen.engine.request(SettingsRequested(key, suspended=False))
        seen.engine.wait(key, WAIT)
        assert seen["flowweaver_task_queue_wait_seconds_sum"] < 0.4
        assert seen["flowweaver_workflow_start_latency_seconds_sum"] < 0.4


def test_a_rerun_ends_again_and_has_no_second_start():
    answers = iter([Failed(message="no"), Completed()])

    with Metered(lambda _: next(answers)) as seen:
        key = seen.finish(RunPlan(tasks=(task("t"),)))
        seen.engine.request(RerunRequested(key, "again"))
        while not seen["flowweaver_workflows_finished_total", "completed"]:
            time.sleep(0.01)
        assert seen["flowweaver_workflows_finished_total", "failed"] == 1
        assert seen["flowweaver_workflow_start_latency_seconds_count"] == 1


def test_a_rerun_of_what_has_completed_ends_nothing_again():
    with Metered(well) as seen:
        key = seen.finish(RunPlan(tasks=(task("t"),)))
        before = seen["flowweaver_store_commit_duration_seconds_count"]
        seen.engine.request(RerunRequested(key, "again"))
        while seen["flowweaver_store_commit_duration_seconds_count"] == before:
            time.sleep(0.01)
        assert seen["flowweaver_workflows_finished_total", "completed"] == 1


def test_what_a_dead_process_left_running_is_recovered_and_crashed(tmp_path):
    entered, stuck = threading.Event(), threading.Event()

    def run(_):
        entered.set()
        stuck.wait(WAIT)
        return Completed()

    alive = SQLiteStore(tmp_path / "state.db", clock=SystemClock())
    with Metered(run, store=alive) as seen:
        seen.engine.submit(RunName("w"), RunPlan(tasks=(task("t"),)))
        assert entered.wait(WAIT)
        with closing(sqlite3.connect(tmp_path / "state.db")) as look:
            look.execute("VACUUM INTO ?", [str(tmp_path / "found.db")])  # as a process that is killed now leaves it
        stuck.set()
    alive.close()

    found = SQLiteStore(tmp_path / "found.db", clock=SystemClock())
    with Metered(well, store=found) as seen:
        seen.engine.submit(RunName("w"), RunPlan(tasks=(task("t"),)))
        seen.engine.wait(1, WAIT)
        assert seen["flowweaver_recovered_tasks_total", "interrupted"] == 1
        assert seen["flowweaver_task_attempts_total", "value", "crashed"] == 1
        assert seen["flowweaver_task_attempts_total", "value", "completed"] == 1
    found.close()
