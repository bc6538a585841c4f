"""Which run it is that is opened by its name, and what of it holds: what the reference model says of that."""

from __future__ import annotations

from tests.simulation.model import FRESH, UNFINISHED, Model


def unchanged(old, plan, name):
    """Whether a task, and all that its result is made from, are the same in `plan` as in the run `old`."""
    was = [task.plan for task in old.tasks if task.plan.name == name]
    now = [task for task in plan.tasks if task.name == name]
    same = was and was[0].version == now[0].version and set(was[0].depends_on) == set(now[0].depends_on)
    return bool(same) and all(unchanged(old, plan, needed) for needed in now[0].depends_on)


def holds(old, plan, name):
    """Whether what the task `name` has completed in the run `old` still counts under `plan`."""
    if not unchanged(old, plan, name):
        return False
    was = next(task for task in old.tasks if task.plan.name == name)
    now = next(task for task in plan.tasks if task.name == name)
    below = now.trigger_rule == "AllFinished" or all(holds(old, plan, needed) for needed in now.depends_on)
    return was.phase == "completed" and below


def same_tasks(old, plan):
    """Whether both have the same tasks, in the same order, and the same follows from a failure of one."""
    fields = ("name", "depends_on", "version", "trigger_rule", "allow_failure")
    plans = [task.plan for task in old.tasks], plan.tasks
    return len({tuple(tuple(getattr(task, name) for name in fields) for task in tasks) for tasks in plans}) == 1


def is_changed(old, plan):
    """Whether a task is another one than before, or new, or gone."""
    before = {(task.plan.name, frozenset(task.plan.depends_on), task.plan.version) for task in old.tasks}
    return before != {(task.name, frozenset(task.depends_on), task.version) for task in plan.tasks}


def expected(old, plan, *, fresh):
    """What opening gives: the outcome, whether it is a new generation, and which tasks of it are kept."""
    if old is None or fresh:
        return "created", True, ()
    if same_tasks(old, plan):
        return "completed" if old.phase == "completed" else "resumed", False, ()
    kept = tuple(task.name for task in plan.tasks if holds(old, plan, task.name))
    all_done = old.phase == "completed" and len(kept) == len(plan.tasks)
    return "completed" if all_done else "resumed", True, kept


class OpeningModel(Model):
    """The model, and runs that the store has and the engine has not."""

    def __init__(self):
        super().__init__()
        self.away = {}

    def hired(self, more):
        self.workers = max(0, self.workers + more)

    def created(self, key, plan, settings, old, kept):
        """A new generation: it has what is kept, and what is unfinished of the one before never ends."""
        self.submitted(key, plan, settings)
        for task in self.runs[key].tasks:
            if task.plan.name in kept:
                was = next(other for other in old.tasks if other.plan.name == task.plan.name)
                vars(task).update({field: getattr(was, field) for field in (*FRESH, "attempts")})
        if old is not None and old.phase == "active":
            old.phase = "cancelled"
            for task in self.tasks(*UNFINISHED, of=[old]):
                task.phase, task.reason = "cancelled", "Replaced"

    def given(self, key, results):
        """These tasks of a new run count as completed from the start."""
        for position, result in results.items():
            task = self.runs[key].tasks[position]
            task.phase, task.result = "completed", result

    def comes_back(self, run, plan):
        """A run is in the engine again, under a plan with the same tasks."""
        self.runs[run.key] = self.away.pop(run.key, run)
        run.plan, run.held = plan, False
        for task, new in zip(run.tasks, plan.tasks, strict=True):
            task.plan = new

    def taken_up(self, key, settings):
        """It is gone on with, whatever had ended it."""
        run = self.runs[key]
        over = run.ended_by or run.phase != "active"
        self.lost(True, run)
        if over:
            run.phase = "failed"  # or cancelled: it matters no more
            self.rerun(key)
        if run.phase == "active":
            vars(run).update(settings, due=float("inf"))

    def leaves(self, key):
        """A run is in the store only."""
        self.away[key] = self.runs.pop(key)
