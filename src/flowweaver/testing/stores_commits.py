"""The part of a store's contract that is about commits, results and processes."""

from __future__ import annotations

from pathlib import Path

from flowweaver.core.changes import AttemptClosed, AttemptStarted, Changes, ResultRecorded, RunChanged, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import TaskPhase
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead
from flowweaver.errors import InternalError
from flowweaver.ports import ChildProcess, RunName
from flowweaver.testing.stores_values import (
    COMPLETED,
    RICH_HEAD,
    AnyStore,
    finished,
    plan_of,
    raises,
)


class CommitsContract(AnyStore):
    """See `flowweaver.testing.stores.StoreContract`."""

    # -------------------------------------------------------------------------------------------------------- commits

    def test_the_sequence_grows_by_one_with_each_commit_and_by_nothing_else(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        assert store.position().sequence == 0
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        store.create_tasks(key, 0, ["a"])
        assert store.position().sequence == 0
        for sequence in range(1, 4):
            store.commit(Changes(runs=[RunChanged(key, RunHead(priority=sequence))]))
            assert store.position().sequence == sequence
        store.delete_run(key)
        store.checkpoint()
        store.reopen()
        assert store.position().sequence == 3

    def test_a_commit_that_can_not_be_written_whole_changes_nothing(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a"), RunHead())
        before = store.read_run(key), store.position()
        with raises(InternalError):
            store.commit(
                Changes(
                    tasks=[TaskChanged(key, 0, COMPLETED), TaskChanged(key, 1, COMPLETED)],
                    results=[ResultRecorded(key, 0, b"1")],
                    runs=[RunChanged(key, RICH_HEAD)],
                )
            )
        assert (store.read_run(key), store.position()) == before
        assert store.read_results(key, [0]) == {}
        store.commit(Changes(tasks=[TaskChanged(key, 0, COMPLETED)]))
        assert store.read_run(key).tasks == (COMPLETED,)

    def test_committing_the_same_changes_twice_leaves_the_same(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b"), RunHead())
        closed, running = AttemptId(key, 0, 1), AttemptId(key, 1, 1)
        runs = replace(COMPLETED, phase=TaskPhase.RUNNING, finished_at=None)
        changes = Changes(
            tasks=[TaskChanged(key, 0, COMPLETED), TaskChanged(key, 1, runs)],
            started=[AttemptStarted(closed, 1.0), AttemptStarted(running, 1.0)],
            closed=[AttemptClosed(closed, "completed", 2.0)],
            results=[ResultRecorded(key, 0, b'"r"')],
        )
        child = ChildProcess(attempt=running, pid=7, started=8)
        store.commit(changes, [child])
        once = store.read_run(key), store.read_results(key, [0, 1]), store.read_processes()
        store.commit(changes, [child])
        assert (store.read_run(key), store.read_results(key, [0, 1]), store.read_processes()) == once
        assert once[2] == [child]

    def test_text_that_no_encoding_has_is_made_storable(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        lone, mended = "a\ud800b\udfff", "a\ufffdb\ufffd"
        name = RunName(lone, lone)
        key = store.create_run(name, plan_of("a", lone), replace(RunHead(), message=lone))
        store.create_tasks(key, 0, ["a", lone])
        attempt = AttemptId(key, 0, 1)
        state = replace(COMPLETED, reason=lone, message=lone, error_type=lone)
        store.commit(
            Changes(
                tasks=[TaskChanged(key, 0, state)],
                runs=[RunChanged(key, replace(RunHead(), reason=lone, message=lone, rerun_token=lone))],
                started=[AttemptStarted(attempt, 1.0)],
                closed=[AttemptClosed(attempt, "failed", 2.0, lone, lone, lone)],
            )
        )
        stored = store.find_run(name)
        assert stored is not None
        assert stored.name == RunName(mended, mended)
        assert stored.head == replace(RunHead(), reason=mended, message=mended, rerun_token=mended)
        assert stored.tasks[0] == replace(COMPLETED, reason=mended, message=mended, error_type=mended)
        assert store.position().sequence == 1

    # -------------------------------------------------------------------------------------------- results, processes

    def test_results_are_given_for_the_tasks_that_have_one(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b", "c"), RunHead())
        other = store.create_run(RunName("v"), plan_of("a"), RunHead())
        big = b'"' + b"x" * (1 << 20) + b'"'
        store.commit(
            Changes(
                tasks=[
                    TaskChanged(key, 0, COMPLETED),
                    TaskChanged(key, 2, COMPLETED),
                    TaskChanged(other, 0, COMPLETED),
                ],
                results=[ResultRecorded(key, 0, b"null"), ResultRecorded(key, 2, big), ResultRecorded(other, 0, b"3")],
            )
        )
        assert store.read_results(key, [2, 1, 0]) == {0: b"null", 2: big}
        assert store.read_results(key, [2]) == {2: big}
        assert store.read_results(key, []) == {}
        store.commit(Changes(results=[ResultRecorded(key, 0, b"[]")]))
        assert self.restarted(store, tmp_path).read_results(key, [0, 1]) == {0: b"[]"}

    def test_the_processes_of_running_attempts_are_known_after_a_restart(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        key = store.create_run(RunName("w"), plan_of("a", "b"), RunHead())
        attempts = [AttemptId(key, 0, 1), AttemptId(key, 1, 1)]
        children = [ChildProcess(attempt=attempt, pid=100 + attempt.task, started=5) for attempt in attempts]
        running = replace(COMPLETED, phase=TaskPhase.RUNNING)
        store.commit(
            Changes(
                tasks=[TaskChanged(key, task, running) for task in (0, 1)],
                started=[AttemptStarted(attempt, 1.0) for attempt in attempts],
            )
        )
        assert store.read_processes() == []
        store.commit(Changes(), children)
        store = self.restarted(store, tmp_path)
        assert store.read_processes() == children
        store.commit(Changes(closed=[AttemptClosed(attempts[0], "crashed", 3.0)]))
        assert store.read_processes() == children[1:]
        store.commit(Changes(), children)  # it comes late: that attempt is over
        assert store.read_processes() == children[1:]
        store.delete_run(key)
        assert store.read_processes() == []

    def test_a_deleted_run_leaves_nothing_and_its_key_is_never_given_again(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        kept = store.create_run(RunName("v"), plan_of("a"), RunHead())
        gone = store.create_run(RunName("w"), plan_of("a"), finished())
        for key in (kept, gone):
            attempt = AttemptId(key, 0, 1)
            store.commit(
                Changes(
                    tasks=[TaskChanged(key, 0, COMPLETED)],
                    started=[AttemptStarted(attempt, 1.0)],
                    results=[ResultRecorded(key, 0, b"1")],
                )
            )
        before = store.read_run(kept)
        store.delete_run(gone)
        store.delete_run(gone)
        assert store.find_run(RunName("w")) is None
        assert store.read_results(gone, [0]) == {}
        assert (store.read_run(kept), store.read_results(kept, [0])) == (before, {0: b"1"})
        again = self.restarted(store, tmp_path).create_run(RunName("w"), plan_of("a"), RunHead())
        assert again not in {kept, gone}
