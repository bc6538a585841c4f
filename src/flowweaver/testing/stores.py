"""The contract of `ports.Store` as tests: every store passes them, ours and anybody else's.

    class TestMyStore(StoreContract):
        def opened(self, folder):
            return MyStore(folder / "state")

        def restarted(self, store, folder):
            store.close()
            return self.opened(folder)

It needs no test framework but one that calls `test_…` methods with a temporary folder as `tmp_path`.
"""

from __future__ import annotations

import threading
from pathlib import Path

from flowweaver.core.changes import AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import InternalError, StoreError
from flowweaver.ports import RunName
from flowweaver.testing.stores_commits import CommitsContract
from flowweaver.testing.stores_new_runs import NewRunsContract
from flowweaver.testing.stores_values import (
    AWKWARD,
    COMPLETED,
    RICH_HEAD,
    RICH_TASK,
    finished,
    plan_of,
    raises,
    rich_plan,
)

__all__ = ["AWKWARD", "COMPLETED", "RICH_HEAD", "RICH_TASK", "StoreContract", "finished", "plan_of", "rich_plan"]


class StoreContract(NewRunsContract, CommitsContract):
    """Everything that the engine relies on."""

    # --------------------------------------------------------------------------------------------------------- a run

    def test_a_run_is_read_back_as_it_was_created(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        name = RunName(f"ns/{AWKWARD}", "id", 3)
        key = store.create_run(name, rich_plan(), RICH_HEAD)
        stored = store.read_run(key)
        assert (stored.key, stored.name, stored.plan, stored.head) == (key, name, rich_plan(), RICH_HEAD)
        assert store.find_run(name) == stored
        assert list(store.list_runs()) == [(key, name, RICH_HEAD)]
        assert self.restarted(store, tmp_path).read_run(key) == stored

    def test_a_run_is_known_by_workflow_and_id_and_generation(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        names = [RunName("w"), RunName("w", "other"), RunName("w", "default", 2), RunName("v")]
        keys = [store.create_run(name, plan_of("a"), RunHead()) for name in names]
        assert len(set(keys)) == len(names)
        assert [store.find_run(name) for name in names] == [store.read_run(key) for key in keys]
        assert store.find_run(RunName("x")) is None

    def test_a_run_that_is_there_is_not_created_again(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        with raises(InternalError):
            store.create_run(RunName("w"), plan_of("b"), RICH_HEAD)
        assert [run for run, _, _ in store.list_runs()] == [key]
        assert store.read_run(key).plan == plan_of("a")

    def test_a_run_that_is_not_there_raises_key_error(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        with raises(KeyError):
            store.read_run(1)
        assert store.find_run(RunName("w")) is None
        assert store.read_results(1, [0]) == {}

    def test_unfinished_runs_are_given_oldest_first(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        keys = {
            phase: store.create_run(RunName(phase), plan_of("a"), RunHead(phase=phase)) for phase in reversed(RunPhase)
        }
        expected = [key for phase, key in keys.items() if not phase.finished]
        assert [stored.key for stored in store.unfinished_runs()] == expected
        assert [run for run, _, _ in store.list_runs()] == list(keys.values())
        store = self.restarted(store, tmp_path)
        assert [stored.key for stored in store.unfinished_runs()] == expected

    def test_runs_may_be_deleted_while_they_are_listed(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        keys = [store.create_run(RunName(f"w{number}"), plan_of("a"), RunHead()) for number in range(4)]
        seen = []
        for stored in store.unfinished_runs():
            seen.append(stored.key)
            store.delete_run(stored.key)
        assert seen == keys
        assert list(store.list_runs()) == []

    # ---------------------------------------------------------------------------------------------------------- tasks

    def test_a_task_without_a_row_is_plainly_pending(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        assert store.read_run(key).tasks == (TaskState(),) * 3
        store.create_tasks(key, 1, ["b"])
        assert store.read_run(key).tasks == (TaskState(),) * 3

    def test_rows_that_are_there_stay_when_tasks_are_created(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        store.create_tasks(key, 0, ["a"])
        store.commit(Changes(tasks=[TaskChanged(key, 0, COMPLETED)]))
        store.create_tasks(key, 0, ["a", "b"])
        store.create_tasks(key, 2, ["c"])
        store.create_tasks(key, 3, [])
        assert store.read_run(key).tasks == (COMPLETED, TaskState(), TaskState())

    def test_a_task_may_change_before_its_row_was_created(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        store.create_tasks(key, 0, ["a"])
        store = self.restarted(store, tmp_path)
        attempt = AttemptId(key, 2, RICH_TASK.attempts)
        store.commit(
            Changes(
                tasks=[TaskChanged(key, 0, COMPLETED), TaskChanged(key, 2, RICH_TASK)],
                started=[AttemptStarted(attempt, 1.0)],
                results=[ResultRecorded(key, 2, b"1")],
            )
        )
        store.create_tasks(key, 1, ["b", "c"])
        assert store.read_run(key).tasks == (COMPLETED, TaskState(), RICH_TASK)
        assert store.read_results(key, [2]) == {2: b"1"}

    def test_every_phase_of_a_task_and_a_run_is_read_back(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of(*TaskPhase), RunHead())
        states = tuple(replace(RICH_TASK, phase=phase) for phase in TaskPhase)
        store.commit(Changes(tasks=[TaskChanged(key, task, state) for task, state in enumerate(states)]))
        assert store.read_run(key).tasks == states
        for phase in RunPhase:
            head = replace(RICH_HEAD, phase=phase)
            store.commit(Changes(runs=[RunChanged(key, head)]))
            assert store.read_run(key).head == head

    def test_what_was_set_can_be_unset(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RICH_HEAD)
        store.commit(Changes(tasks=[TaskChanged(key, 0, RICH_TASK)]))
        store.commit(Changes(tasks=[TaskChanged(key, 0, TaskState())], runs=[RunChanged(key, RunHead())]))
        stored = store.read_run(key)
        assert (stored.tasks, stored.head) == ((TaskState(),), RunHead())

    # ------------------------------------------------------------------------------------------------ lives of a store

    def test_a_restart_keeps_the_id_and_the_sequence_and_begins_an_epoch(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        store.commit(Changes(tasks=[TaskChanged(key, 0, RICH_TASK)]))
        before, stored = store.position(), store.read_run(key)
        store = self.restarted(store, tmp_path)
        assert store.position() == replace(before, epoch=before.epoch + 1)
        assert store.read_run(key) == stored

    def test_opening_again_keeps_everything_and_begins_no_epoch(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        store.commit(Changes(tasks=[TaskChanged(key, 0, RICH_TASK)]))
        before = store.position(), store.read_run(key)
        store.reopen()
        assert (store.position(), store.read_run(key)) == before
        store.commit(Changes(tasks=[TaskChanged(key, 0, COMPLETED)]))
        assert store.read_run(key).tasks == (COMPLETED,)

    def test_a_store_that_is_closed_says_so(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        store.close()
        store.close()
        with raises(StoreError):
            store.commit(Changes(runs=[RunChanged(key, RICH_HEAD)]))
        with raises(StoreError):
            store.position()
        with raises(StoreError):
            store.read_run(key)

    def test_a_reader_in_another_thread_sees_whole_commits_only(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b"), RunHead())
        over = threading.Event()
        torn: list[object] = []
        reads = [0, 0]

        def read(reader: int) -> None:
            try:
                while True:
                    last = over.is_set()
                    stored = store.read_run(key)
                    seen = {*(state.attempts for state in stored.tasks), stored.head.priority}
                    reads[reader] += 1
                    if len(seen) > 1:
                        torn.append(seen)
                    if last:
                        return
            except Exception as error:  # noqa: BLE001 - it is looked at below
                torn.append(error)

        readers = [threading.Thread(target=read, args=(reader,)) for reader in range(2)]
        for reader in readers:
            reader.start()
        for number in range(1, 200):
            state = replace(RICH_TASK, attempts=number)
            store.commit(
                Changes(
                    tasks=[TaskChanged(key, 0, state), TaskChanged(key, 1, state)],
                    runs=[RunChanged(key, RunHead(priority=number))],
                )
            )
        over.set()
        for reader in readers:
            reader.join()
        assert torn == []
        assert all(reads)
