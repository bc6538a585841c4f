"""What is promised of runs, as plainly as it can be said: after each fact everything is looked at afresh.

Written from docs/ (manifest, failure modes, state machine). A plan is all that it has in common with the core: no
graph, no counters, no queues. Of several tasks that may start, the history says which one did. A method is a fact.
"""

from math import inf
from types import SimpleNamespace as Record

from flowweaver.core.events import Deferred, Failed

FRESH = {"phase": "pending", "reason": "", "failures": 0, "crashes": 0, "due": inf, "latest": inf, "result": None}
UNFINISHED, FINISHED = ("pending", "waiting", "running"), ("completed", "failed", "skipped", "cancelled")


class Model:
    def __init__(self):
        # `given_up`: attempts that nobody waits for, their bodies not yet returned
        self.runs, self.given_up, self.workers, self.now = {}, set(), 0, 0.0

    def submitted(self, key, plan, settings):
        run = self.runs[key] = Record(key=key, plan=plan, phase="active", ended_by="", due=inf, held=False, **settings)
        run.tasks = [Record(plan=it, run=run, place=(key, i), attempts=0, **FRESH) for i, it in enumerate(plan.tasks)]

    def tasks(self, *phases, of=None):
        return [task for run in of or self.runs.values() for task in run.tasks if task.phase in phases]

    def needed(self, task):
        return [other for other in task.run.tasks if other.plan.name in task.plan.depends_on]

    def body_is_there(self, task):
        return any(attempt[:2] == task.place for attempt in self.given_up)

    def may_wake(self, task):
        return task.reason == "Backoff" and task.due <= self.now and not self.body_is_there(task)

    def permitted(self):
        running = self.tasks("running")
        full = len(running) >= self.workers or len(self.given_up) > self.workers
        return [] if full else [task for task in self.tasks("pending") if self.may_start(task, task.run, running)]

    def may_start(self, task, run, running):
        room = run.parallelism is None or sum(other.run is run for other in running) < run.parallelism
        alone = task.crashes < 2 or all(other.crashes < 2 for other in running)
        good = ("completed",) if task.plan.trigger_rule == "AllCompleted" else FINISHED
        free = not (run.held or run.suspended or run.ended_by or self.body_is_there(task))
        return room and alone and free and all(other.phase in good for other in self.needed(task))

    def started(self, task):
        task.phase, task.reason, task.attempts, task.too_long_at = "running", "", task.attempts + 1, inf
        if task.run.due == inf:
            task.run.due = self.now + (task.run.plan.timeout_seconds or inf)

    def turn(self, facts, now, monotonic):
        self.now, late = now, [task for task in self.tasks("running") if task.too_long_at <= monotonic]
        timers = [task for task in self.tasks("waiting") if task.reason == "Timer"] + list(self.runs.values())
        for what, *details in sorted(facts, key=lambda fact: fact[0] != "returned"):  # no finished work is lost
            getattr(self, what)(*details)
        for task in sorted(late, key=lambda task: task.too_long_at):
            if task.phase == "running":
                self.given_up.add((*task.place, task.attempts))
                self.fails(task, now, "Timeout", task.plan.retry.timeouts)
        for it in sorted(timers, key=lambda it: it.due):
            if it.due <= now and it.phase == "waiting":
                self.put(it, "completed")
            elif it.due <= now and it.phase == "active":
                self.ended(it.key, "WorkflowTimeout")
        for run in [run for run in self.runs.values() if not self.tasks(*UNFINISHED, of=[run])]:
            failed = any(not task.plan.allow_failure for task in self.tasks("failed", of=[run]))
            failed = failed or run.ended_by == "WorkflowTimeout"
            stopped = run.ended_by in ("Stopped", "Terminated") and self.tasks("cancelled", of=[run])
            run.phase = "failed" if failed else "cancelled" if stopped else "completed"

    def returned(self, attempt, outcome, at):
        task = None if attempt in self.given_up else self.runs[attempt.run].tasks[attempt.task]
        self.given_up.discard(attempt)
        if task and isinstance(outcome, Failed):
            self.fails(task, at, outcome.reason, outcome.retryable)
        elif task:
            task.result = outcome.result
            waits = isinstance(outcome, Deferred) and (outcome.until > self.now or task.run.ended_by)
            self.put(task, *(("waiting", "Timer", outcome.until, outcome.until) if waits else ("completed",)))

    def fails(self, task, at, reason, retryable):
        retry, task.failures = task.plan.retry, task.failures + 1
        if retryable and task.failures <= retry.limit and not task.run.ended_by:
            longest = min(retry.delay_seconds * retry.factor ** (task.failures - 1), retry.max_delay_seconds)
            self.put(task, "waiting", "Backoff", at + (0 if retry.jitter == "Full" else longest), at + longest)
        else:
            self.put(task, "failed", reason)

    def put(self, task, phase, reason="", due=inf, latest=inf):
        run, task.phase, task.reason, task.due, task.latest = task.run, phase, reason, due, latest
        for other in self.tasks("pending", of=[run]) * len(run.tasks):
            lost = any(needed.phase in FINISHED[1:] for needed in self.needed(other))
            if lost and other.phase == "pending" and other.plan.trigger_rule == "AllCompleted":
                other.phase, other.reason = "skipped", "DependencyNotCompleted"
        if phase == "failed" and not task.plan.allow_failure and run.plan.failure_policy == "FailFast":
            run.ended_by = run.ended_by or "FailFast"
        self.cancel(run, "pending", "waiting")

    def cancel(self, run, *phases):
        for task in self.tasks(*phases, of=[run]) if run.ended_by else ():
            self.given_up |= {(*task.place, task.attempts)} if task.phase == "running" else set()
            task.phase, task.reason, task.due = "cancelled", run.ended_by, inf

    def ended(self, key, why):
        run = self.runs[key]
        if self.tasks(*UNFINISHED, of=[run]) and run.ended_by != "Terminated":
            run.ended_by = why
            self.cancel(run, *UNFINISHED[: 2 if why == "Stopped" else 3])

    def changed(self, key, settings):
        vars(self.runs[key]).update(settings if self.runs[key].phase == "active" else {})

    def rerun(self, key):
        run = self.runs[key]
        if run.phase in ("failed", "cancelled"):
            run.phase, run.ended_by, run.due = "active", "", inf
            for task in self.tasks(*FINISHED[1:], of=[run]):
                vars(task).update(FRESH)

    def lost(self, crashed, *runs):
        for task in self.tasks("running", of=runs):
            task.crashes += crashed
            self.given_up |= set() if crashed else {(*task.place, task.attempts)}
            reason = "Interrupted" if task.plan.on_crash == "Fail" else "CrashLoop" * (task.crashes >= 3)
            self.put(task, "failed" if reason else "pending", reason)
