"""A run ends as the plan says under which it ends, whatever was done of it under others."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flowweaver.core.events import Shutdown, ShutdownRequested
from flowweaver.core.phases import RunPhase, TaskPhase
from flowweaver.core.plan import FailurePolicy, RunPlan, TriggerRule
from tests.properties.playing import Playground, graphs, policies

EXAMPLES = int(os.environ.get("FLOWWEAVER_EXAMPLES", "60")) * 3


def end_of(plan: RunPlan, broken: frozenset[str]) -> dict[str, TaskPhase]:
    """How each task ends where a failure stops nothing but what needs it."""
    ends: dict[str, TaskPhase] = {}
    while len(ends) < len(plan.tasks):
        for task in plan.tasks:
            if task.name not in ends and all(name in ends for name in task.depends_on):
                lost = any(ends[name] is not TaskPhase.COMPLETED for name in task.depends_on)
                skipped = lost and task.trigger_rule is TriggerRule.ALL_COMPLETED
                ended = TaskPhase.FAILED if task.name in broken else TaskPhase.COMPLETED
                ends[task.name] = TaskPhase.SKIPPED if skipped else ended
    return ends


def play(ground: Playground, key: int, data: st.DataObject) -> None:
    """Some of it is done, and then nobody goes on with it."""
    for _ in range(data.draw(st.integers(0, 6))):
        bodies = sorted([*ground.executor.running, *ground.executor.abandoned])
        ended = data.draw(st.lists(st.sampled_from(bodies), unique=True, min_size=1)) if bodies else []
        ground.turn(*map(ground.body_ends, ended))
        if data.draw(st.booleans()):
            ground.pass_time(11.0)
    leave = data.draw(st.sampled_from(["crash", "release", "end", *Shutdown]))
    event(leave)
    if isinstance(leave, Shutdown):
        ground.turn(ShutdownRequested(key, leave))
        leave = data.draw(st.sampled_from(["crash", "release", "end"]))
    if leave == "end":
        ground.finish()
    elif leave == "release":
        ground.release(key)
    else:
        ground.open(recover=False)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tasks=graphs(), broken=st.frozensets(st.sampled_from("abc")), data=st.data())
def test_a_run_ends_as_the_plan_says_under_which_it_ends(tasks, broken, data):
    ground = Playground(workers=data.draw(st.integers(1, 3)))
    ground.broken = broken
    for _ in range(data.draw(st.integers(1, 3))):
        opening = ground.begin(data.draw(policies(tasks, broken)))
        play(ground, opening.key, data)
    plan = data.draw(policies(tasks, broken))
    key = ground.begin(plan).key
    ground.finish()
    phases, right = ground.store.read_run(key).tasks, end_of(plan, broken)
    found = {task.name: state.phase for task, state in zip(plan.tasks, phases, strict=True)}
    failed = any(found[task.name] is TaskPhase.FAILED and not task.allow_failure for task in plan.tasks)
    assert ground.head(key).phase is (RunPhase.FAILED if failed else RunPhase.COMPLETED)
    if failed and plan.failure_policy is FailurePolicy.FAIL_FAST:  # what it did not come to is cancelled
        found = {name: phase for name, phase in found.items() if phase is not TaskPhase.CANCELLED}
    assert found == {name: right[name] for name in found}
    assert failed or len(found) == len(tasks)
