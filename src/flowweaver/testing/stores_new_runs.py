"""The part of a store's contract that is about new runs, what they keep, and how they are found again."""

from __future__ import annotations

from pathlib import Path

from flowweaver.core.changes import AttemptStarted, Changes, ResultRecorded, TaskChanged
from flowweaver.core.events import AttemptId
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import RetryPolicy, RunPlan, TaskPlan
from flowweaver.core.records import replace
from flowweaver.core.state import RunHead, TaskState
from flowweaver.errors import InternalError
from flowweaver.ports import ROWS_AT_ONCE, ChildProcess, Kept, NewRun, RunName, Store
from flowweaver.testing.stores_values import COMPLETED, RICH_TASK, AnyStore, finished, plan_of, raises, rich_plan

REPLACED = RunHead(phase=RunPhase.RUNNING, priority=4)


class NewRunsContract(AnyStore):
    """See `flowweaver.testing.stores.StoreContract`."""

    # -------------------------------------------------------------------------------------------------- several at once

    def test_several_runs_are_created_together_and_the_sequence_stays(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        new = [NewRun(name=RunName("w", str(n)), plan=plan_of("a", str(n)), head=RunHead(priority=n)) for n in range(3)]
        keys = store.create_runs(new)
        assert len(set(keys)) == 3
        store = self.restarted(store, tmp_path)
        for key, run in zip(keys, new, strict=True):
            stored = store.read_run(key)
            assert (stored.name, stored.plan, stored.head) == (run.name, run.plan, run.head)
        assert store.position().sequence == 0
        assert store.create_runs([]) == []

    def test_of_several_runs_none_is_created_where_one_is_there_already(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        store.create_run(RunName("there"), plan_of("a"), RunHead())
        for names in (["new", "there"], ["twice", "twice"]):
            with raises(InternalError):
                store.create_runs([NewRun(name=RunName(name), plan=plan_of("a"), head=RunHead()) for name in names])
        assert [name.workflow for _, name, _ in store.list_runs()] == ["there"]
        assert store.find_newest("new", "default") is None

    # ----------------------------------------------------------------------------------------------------- what is kept

    def test_a_run_begins_with_what_it_is_given(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        given = {1: (COMPLETED, b'"one"'), 2: (replace(COMPLETED, attempts=7), b"2")}
        kept = Kept(given=given)
        [key] = store.create_runs([NewRun(name=RunName("w"), plan=plan_of("a", "b", "c"), head=RunHead(), kept=kept)])
        store = self.restarted(store, tmp_path)
        assert store.read_run(key).tasks == (TaskState(), given[1][0], given[2][0])
        assert store.read_results(key, [0, 1, 2]) == {1: b'"one"', 2: b"2"}

    def test_a_run_keeps_completed_tasks_of_the_one_that_it_replaces(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        old = _begun(store)
        head = RunHead(created_at=50.0)
        kept = Kept(source=old, tasks={2: 0})
        new = NewRun(name=RunName("w", "default", 2), plan=plan_of("x", "y", "a"), head=head, kept=kept)
        [key] = store.create_runs([new])
        store = self.restarted(store, tmp_path)
        assert store.read_run(key).tasks == (TaskState(), TaskState(), COMPLETED)
        assert store.read_results(key, [0, 1, 2]) == {2: b'"kept"'}
        before = store.read_run(old)
        assert (before.head.phase, before.head.reason, before.head.finished_at) == ("cancelled", "Replaced", 50.0)
        assert before.head.priority == REPLACED.priority
        assert [(str(state.phase), state.reason) for state in before.tasks] == [
            ("completed", ""),
            ("cancelled", "Replaced"),
            ("cancelled", "Replaced"),
            ("cancelled", "Replaced"),
        ]
        assert before.tasks[2].not_before is None
        assert store.read_results(old, [0]) == {0: b'"kept"'}
        assert store.read_processes() == []
        assert [stored.key for stored in store.unfinished_runs()] == [key]
        store.commit(Changes(tasks=[TaskChanged(key, 0, COMPLETED), TaskChanged(key, 2, RICH_TASK)]))
        assert store.read_run(key).tasks == (COMPLETED, TaskState(), RICH_TASK)
        store.delete_run(old)
        assert store.read_results(key, [2]) == {2: b'"kept"'}

    def test_a_finished_run_stays_as_it_is_when_it_is_replaced(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        old = store.create_run(RunName("w"), plan_of("a", "b"), finished())
        before = store.read_run(old)
        new = NewRun(name=RunName("w", "default", 2), plan=plan_of("a"), head=RunHead(), kept=Kept(source=old))
        store.create_runs([new])
        assert store.read_run(old) == before

    def test_what_has_not_completed_can_not_be_kept_and_nothing_is_changed(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        old = _begun(store)
        before = store.read_run(old)
        new = NewRun(
            name=RunName("w", "default", 2),
            plan=plan_of("a", "b"),
            head=RunHead(),
            kept=Kept(source=old, tasks={0: 0, 1: 1}),
        )
        with raises(InternalError):
            store.create_runs([NewRun(name=RunName("v"), plan=plan_of("a"), head=RunHead()), new])
        assert store.read_run(old) == before
        assert [run for run, _, _ in store.list_runs()] == [old]

    def test_a_large_run_has_all_that_it_kept_before_its_other_rows_are_written(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        names = [f"t{number}" for number in range(2 * ROWS_AT_ONCE)]
        last = len(names) - 1
        old = store.create_run(RunName("w"), plan_of(*names), RunHead())
        store.commit(Changes(tasks=[TaskChanged(old, last, COMPLETED)], results=[ResultRecorded(old, last, b'"last"')]))
        kept = Kept(source=old, tasks={last: last})
        new = NewRun(name=RunName("w", "default", 2), plan=plan_of(*names), head=RunHead(), kept=kept)
        [key] = store.create_runs([new])
        store = self.restarted(store, tmp_path)
        assert store.read_run(key).tasks[last] == COMPLETED
        store.create_tasks(key, ROWS_AT_ONCE, names[ROWS_AT_ONCE:])
        assert store.read_run(key).tasks[last] == COMPLETED
        assert store.read_results(key, [last]) == {last: b'"last"'}

    # ------------------------------------------------------------------------------------------------------ found again

    def test_the_newest_generation_is_found_whenever_it_was_created(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        for generation in (1, 3, 2):
            store.create_run(RunName("w", "r", generation), plan_of("a"), RunHead())
        store.create_run(RunName("w", "other", 9), plan_of("a"), RunHead())
        store.create_run(RunName("v", "r", 9), plan_of("a"), RunHead())
        found = store.find_newest("w", "r")
        assert found is not None
        assert found == store.find_run(RunName("w", "r", 3))
        assert store.find_newest("w", "none") is None
        store.delete_run(found.key)
        store = self.restarted(store, tmp_path)
        assert store.find_newest("w", "r") == store.find_run(RunName("w", "r", 2))

    def test_a_plan_with_the_same_tasks_stands_for_the_stored_one(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        task = TaskPlan(name="b", kind="call", depends_on=("a",), version="1")
        first = RunPlan(tasks=(*plan_of("a").tasks, task))
        key = store.create_run(RunName("w"), first, RunHead())
        store.commit(Changes(tasks=[TaskChanged(key, 0, COMPLETED)]))
        store = self.restarted(store, tmp_path)
        same = RunPlan(tasks=(first.tasks[0], replace(task, retry=RetryPolicy(limit=3))), parallelism=2)
        found = store.find_newest("w", "default", same)
        assert found is not None
        assert found.plan is same
        assert found.tasks == (COMPLETED, TaskState())
        others = (
            RunPlan(tasks=(first.tasks[0], replace(task, version="2"))),
            RunPlan(tasks=(first.tasks[0], replace(task, depends_on=()))),
            RunPlan(tasks=(first.tasks[0], replace(task, name="c"))),
            RunPlan(tasks=first.tasks[:1]),
            RunPlan(tasks=first.tasks[::-1]),
        )
        for other in others:
            found = store.find_newest("w", "default", other)
            assert found is not None
            assert found.plan == first

    def test_a_task_is_found_by_its_name_in_the_newest_run_that_has_it(self, tmp_path: Path) -> None:
        store = self.opened(tmp_path)
        first = store.create_run(RunName("w"), rich_plan(), RunHead())
        second = store.create_run(RunName("v"), plan_of("x", "a"), RunHead())
        assert store.task_named("a") == (second, 1)
        assert store.task_named("b") == (first, 1)
        assert store.task_named("none") is None
        store.delete_run(second)
        assert self.restarted(store, tmp_path).task_named("a") == (first, 0)


def _begun(store: Store) -> int:
    """A run of four tasks: completed, running in a process, waiting, pending."""
    key = store.create_run(RunName("w"), plan_of("a", "b", "c", "d"), REPLACED)
    attempt = AttemptId(key, 1, 1)
    running = TaskState(phase=TaskPhase.RUNNING, attempts=1, started_at=3.0)
    changes = Changes(
        tasks=[TaskChanged(key, 0, COMPLETED), TaskChanged(key, 1, running), TaskChanged(key, 2, RICH_TASK)],
        started=[AttemptStarted(attempt, 3.0)],
        results=[ResultRecorded(key, 0, b'"kept"')],
    )
    store.commit(changes, [ChildProcess(attempt=attempt, pid=7, started=8)])
    return key
