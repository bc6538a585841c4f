"""What the engine's turns come to in numbers, with a real engine and bodies that do as they are told."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

from flowweaver.core.apply import open_run
from flowweaver.core.changes import AttemptStarted, Changes, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId, Completed, Failed, RerunRequested
from flowweaver.core.phases import Reason, RunPhase, TaskPhase
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.core.state import RunHead, TaskState
from flowweaver.engine import Engine, SystemClock
from flowweaver.executors.threaded import ThreadedExecutor
from flowweaver.operator.metering import RunMeter
from flowweaver.ports import RunName
from flowweaver.stores import MemoryStore, SQLiteStore
from flowweaver.telemetry.metrics import Metrics
from tests.monitoring.test_metrics import shown
from tests.operator.test_queue import Clock

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

    plan = RunPlan(tasks=(task("t", timeout_seconds=1.0, retry=RetryPolicy(limit=1, delay_seconds=0.01)),))
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


class Told:
    """A run of "first" and then "next", whose turns a test tells by hand, at times that it chooses."""

    def __init__(self, **head):
        self.metrics, self.clock = Metrics(), Clock()
        self.clock.now = 1000.0
        self.meter = RunMeter(self.metrics, self.clock)
        plan = RunPlan(tasks=(task("first"), task("next", "first")))
        self.run = open_run(key=1, name=("w", "", 1), plan=plan, head=RunHead(created_at=1000.0, **head))

    def turn(self, **what):
        self.meter(Changes(**what), {1: self.run}, 0.001)

    def __getitem__(self, name):
        return shown(self.metrics)[name,]


FIRST_ENDED = TaskState(phase=TaskPhase.COMPLETED, attempts=1, started_at=1001.0, finished_at=1600.0)
NEXT_STARTED = AttemptStarted(AttemptId(1, 1, 1), 1602.0)


def test_a_task_waits_from_when_its_dependencies_have_ended():
    told = Told()
    told.run.tasks[0] = FIRST_ENDED
    told.turn(started=[NEXT_STARTED])
    assert told["flowweaver_task_queue_wait_seconds_sum"] == 2.0


def test_a_dependency_may_have_ended_in_the_very_turn():
    told = Told()
    told.turn(tasks=[TaskChanged(1, 0, FIRST_ENDED)], started=[NEXT_STARTED])
    assert told["flowweaver_task_queue_wait_seconds_sum"] == 2.0


def test_only_a_first_attempt_has_waited_for_its_turn():
    told = Told()
    told.turn(started=[AttemptStarted(AttemptId(1, 0, 2), 1602.0)])
    assert told["flowweaver_task_queue_wait_seconds_count"] == 0


def test_the_time_that_a_run_was_suspended_is_no_waiting():
    told = Told(suspended=True, phase=RunPhase.SUSPENDED)
    told.clock.now = 5000.0
    resumed = RunHead(created_at=1000.0, phase=RunPhase.PENDING)
    told.turn(runs=[RunChanged(1, resumed)])
    told.run.head = resumed
    started = RunHead(created_at=1000.0, phase=RunPhase.RUNNING, started_at=5003.0)
    told.turn(runs=[RunChanged(1, started)], started=[AttemptStarted(AttemptId(1, 0, 1), 5003.0)])
    assert told["flowweaver_task_queue_wait_seconds_sum"] == 3.0
    assert told["flowweaver_workflow_start_latency_seconds_sum"] == 3.0


def test_a_task_that_finds_no_worker_waits():
    def run(_):
        time.sleep(0.2)
        return Completed()

    with Metered(run, workers=1) as seen:
        seen.finish(RunPlan(tasks=(task("a"), task("b"), task("c"))))
        assert seen["flowweaver_task_queue_wait_seconds_sum"] > 0.5, "0.2 for the second, 0.4 for the third"


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
