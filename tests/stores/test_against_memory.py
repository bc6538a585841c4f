"""Whatever is done, and whatever fails meanwhile: the file says what memory says."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId, Shutdown
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import CommitUnknown, StoreUnavailable
from flowweaver.ports import ChildProcess, Kept, NewRun, RunName
from flowweaver.stores import JSONStore, MemoryStore, SQLiteStore
from flowweaver.stores.history import AttemptRow
from flowweaver.stores.sqlite_look import SQLiteLook
from flowweaver.testing.json_disk import BadDisk
from flowweaver.testing.simulation import ManualClock
from flowweaver.testing.stores import plan_of
from flowweaver.testing.stores_disk import Disk, Effect

TASKS = 4
# In memory where that can be: thousands of syncs take minutes on a disk that is busy, and faults are made above it.
FOLDERS = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
PLAN = plan_of(*(f"t{number}" for number in range(TASKS)))

texts = st.text(max_size=8) | st.text("a\0'\ud800", max_size=4)
times = st.none() | st.floats(0, 1e10, allow_nan=False)
counts = st.integers(0, 5)
tasks = st.integers(0, TASKS - 1)
states = st.builds(
    TaskState,
    phase=st.sampled_from(TaskPhase),
    attempts=counts,
    failures=counts,
    crashes=counts,
    reason=texts,
    message=texts,
    error_type=texts,
    not_before=times,
    started_at=times,
    finished_at=times,
)
heads = st.builds(
    RunHead,
    phase=st.sampled_from(RunPhase),
    reason=texts,
    message=texts,
    created_at=st.floats(0, 1e10),
    started_at=times,
    finished_at=times,
    deadline=times,
    shutdown=st.none() | st.sampled_from(Shutdown),
    failed_fast=st.booleans(),
    suspended=st.booleans(),
    priority=st.integers(-9, 9),
    parallelism=st.none() | counts,
    rerun_token=texts,
)


class TwoStores(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=FOLDERS)
        self.disk = self.new_disk()
        self.memory = MemoryStore()
        self.file = self.opened()
        self.runs = []
        self.names = []
        self.attempts = {}

    def new_disk(self):
        return Disk().__enter__()

    def opened(self):
        return SQLiteStore(Path(self.folder.name) / "state.db", clock=ManualClock(), vfs=self.disk.name)

    def look(self):
        return closing(SQLiteLook(Path(self.folder.name) / "state.db"))

    def teardown(self):
        self.disk.heal()
        self.file.close()
        self.disk.__exit__(None, None, None)
        self.folder.cleanup()

    @rule(workflow=st.sampled_from("vw"), head=heads)
    def create(self, workflow, head):
        name = RunName(workflow, str(len(self.names)))
        self.names.append(name)
        self.runs.append(self.file.create_run(name, PLAN, head))
        assert self.memory.create_run(name, PLAN, head) == self.runs[-1]

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), first=tasks, count=st.integers(0, TASKS))
    def create_tasks(self, data, first, count):
        run = data.draw(st.sampled_from(self.runs))
        names = [task.name for task in PLAN.tasks[first : first + count]]
        for store in (self.file, self.memory):
            store.create_tasks(run, first, names)

    @precondition(lambda self: self.runs)
    @rule(
        data=st.data(),
        changed=st.dictionaries(tasks, st.tuples(states, st.binary(max_size=9), texts), min_size=1),
        head=st.none() | heads,
        in_processes=st.booleans(),
        fault=st.none()
        | st.sampled_from([effect for effect in Effect if effect.name in {"FAIL", "FAIL_AFTER", "FILL", "TEAR"}]),
        operation=st.sampled_from(["write", "sync"]),
        nth=st.integers(1, 6),
    )
    def commit(self, data, changed, head, in_processes, fault, operation, nth):
        run = data.draw(st.sampled_from(self.runs))
        changes = Changes(runs=[RunChanged(run, head)] if head else [])
        for task, (state, result, text) in changed.items():
            self.change(changes, run, task, state, text)
            changes.results.append(ResultRecorded(run, task, result))
        attempts = [attempt for attempt, _ in (*changes.started, *((end.attempt, 0) for end in changes.closed))]
        children = [ChildProcess(attempt=attempt, pid=7, started=attempt.task) for attempt in attempts if in_processes]
        if fault and not (fault is Effect.FILL and operation == "sync"):
            self.disk.will(fault, operation, nth=nth)
        self.insist(changes, children)
        self.disk.heal()
        self.memory.commit(changes, children)
        for attempt, at in changes.started:
            self.attempts[attempt] = AttemptRow(attempt.number, "running", at)
        for attempt, *ended in changes.closed:
            began = self.attempts[attempt].started_at
            self.attempts[attempt] = AttemptRow(attempt.number, ended[0], began, *ended[1:])

    def change(self, changes, run, task, state, text):
        """A step as an engine takes it: an attempt of that number starts once, and ends when its task goes on."""
        before = self.memory.read_run(run).tasks[task]
        current = AttemptId(run, task, before.attempts)
        if before.phase is TaskPhase.COMPLETED and state.phase in {TaskPhase.RUNNING, TaskPhase.COMPLETED}:
            state = replace(state, phase=TaskPhase.CANCELLED)  # what has completed can be forgotten, and then run again
        is_running = self.attempts.get(current, AttemptRow(0, "")).status == "running"
        if state.phase is TaskPhase.RUNNING:
            number, now = before.attempts + 1, float(len(self.attempts))
            began = state.started_at if number > 1 else now
            state = replace(state, attempts=number, started_at=began, finished_at=None)
            changes.started.append(AttemptStarted(current._replace(number=number), now))
        else:
            # All else is forgotten: also when the first one began, which is what a rerun does.
            state = replace(state, attempts=before.attempts)
            if state.phase is TaskPhase.COMPLETED:
                state = replace(state, started_at=before.started_at)
        if is_running:
            done = state.phase in {TaskPhase.COMPLETED, TaskPhase.WAITING} and not (text and state.message)
            at = state.finished_at if state.finished_at is not None else 2.0
            ended = (
                AttemptClosed(current, "completed", at) if done else AttemptClosed(current, "failed", 2.0, "F", "", "")
            )
            changes.closed.append(ended)
        changes.tasks.append(TaskChanged(run, task, state))

    def insist(self, changes, children):
        """As the engine does it: once, whatever the disk does."""
        before = self.file.position().sequence
        failure = None
        try:
            self.file.commit(changes, children)
        except StoreUnavailable as error:
            failure = error
        if failure is None:
            return
        self.file.reopen()
        happened = self.file.position().sequence - before
        assert happened in ({0, 1} if isinstance(failure, CommitUnknown) else {0})
        if not happened:
            self.file.commit(changes, children)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), head=heads, given=st.dictionaries(tasks, st.tuples(states, st.binary(max_size=9))))
    def replace_one(self, data, head, given):
        """A new generation that keeps what has completed, under other positions."""
        source = data.draw(st.sampled_from(self.runs))
        old = self.memory.read_run(source)
        completed = [task for task, state in enumerate(old.tasks) if state.phase is TaskPhase.COMPLETED]
        has_result = [task for task in completed if self.memory.read_results(source, [task])]
        kept = Kept(source=source, tasks={TASKS - 1 - task: task for task in has_result})
        others = {task: each for task, each in given.items() if task not in kept.tasks}
        name = old.name._replace(generation=1 + max(n.generation for n in self.names if n[:2] == old.name[:2]))
        self.names.append(name)
        new = [NewRun(name=name, plan=PLAN, head=head, kept=replace(kept, given=others))]
        [key] = self.file.create_runs(new)
        assert self.memory.create_runs(new) == [key]
        self.runs.append(key)
        if not old.head.phase.finished:
            for attempt, row in self.attempts.items():
                if attempt.run == source and row.status == "running":
                    self.attempts[attempt] = row._replace(status="crashed", ended_at=head.created_at)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def delete(self, data):
        run = data.draw(st.sampled_from(self.runs))
        self.runs.remove(run)
        for store in (self.file, self.memory):
            store.delete_run(run)

    @rule()
    def restart(self):
        self.file.close()
        self.file = self.opened()
        self.memory.close()
        self.memory.begin_epoch()

    @rule()
    def checkpoint(self):
        self.file.checkpoint()

    @invariant()
    def they_say_the_same(self):
        ours, theirs = self.file.position(), self.memory.position()
        assert (ours.epoch, ours.sequence) == (theirs.epoch, theirs.sequence)
        assert list(self.file.list_runs()) == list(self.memory.list_runs())
        assert list(self.file.unfinished_runs()) == list(self.memory.unfinished_runs())
        for name in self.names:
            assert self.file.find_run(name) == self.memory.find_run(name)
            newest = self.memory.find_newest(name.workflow, name.run_id, PLAN)
            assert self.file.find_newest(name.workflow, name.run_id, PLAN) == newest
        assert self.file.task_named(PLAN.tasks[1].name) == self.memory.task_named(PLAN.tasks[1].name)
        by_attempt = {child.attempt: child for child in self.memory.read_processes()}
        assert {child.attempt: child for child in self.file.read_processes()} == by_attempt
        for run in self.runs:
            assert self.file.read_run(run) == self.memory.read_run(run)
            assert self.file.read_results(run, range(TASKS)) == self.memory.read_results(run, range(TASKS))
        self.attempts_are_all_told()

    def attempts_are_all_told(self):
        with self.look() as look:
            told = {
                AttemptId(run, task, row.number): row._replace(pid=None, pid_started=None)
                for run in self.runs
                for task, found in look.read_attempts(run).items()
                for row in found
            }
        assert told == {attempt: row for attempt, row in self.attempts.items() if attempt.run in self.runs}


class JSONAndMemory(TwoStores):
    def new_disk(self):
        return BadDisk()

    def opened(self):
        return JSONStore(Path(self.folder.name) / "state.json", clock=ManualClock(), disk=self.disk)

    def look(self):
        return nullcontext(self.file)

    def teardown(self):
        self.disk.heal()
        self.file.close()
        self.folder.cleanup()


USUAL = settings(
    max_examples=30,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.generate],  # looking for a smaller example takes minutes: the thorough ones below do
)
THOROUGH = settings(USUAL, max_examples=400, phases=[Phase.generate, Phase.shrink])


@pytest.mark.parametrize("stores", [TwoStores, JSONAndMemory])
def test_a_file_says_what_memory_says(stores):
    run_state_machine_as_test(stores, settings=USUAL)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stores", [TwoStores, JSONAndMemory])
def test_a_file_says_what_memory_says_through_many_more_histories(stores):
    run_state_machine_as_test(stores, settings=THOROUGH)


def test_a_process_of_a_run_that_has_finished_is_told_of_after_a_checkpoint_too(tmp_path):
    with closing(JSONStore(tmp_path / "state.json", clock=ManualClock())) as store:
        run = store.create_run(RunName("w", "r"), PLAN, RunHead())
        attempt = AttemptId(run, 1, 1)
        child = ChildProcess(attempt=attempt, pid=7, started=1)
        finished = [RunChanged(run, RunHead(phase=RunPhase.COMPLETED))]
        store.commit(Changes(started=[AttemptStarted(attempt, 1.0)], runs=finished), [child])
        assert store.read_processes() == [child]
        store.checkpoint()
        assert store.read_processes() == [child]
