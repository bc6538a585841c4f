"""Two branches that look at the same condition; the one that is not meant returns None."""

from flowweaver import SequentialExecutor, Task, ThreadedExecutor, Workflow


def build(weekday: int) -> Workflow:
    workflow = Workflow(name="branches")
    workflow.add_task(Task(name="weekend", fn=lambda: weekday > 5))
    workflow.add_task(Task(name="rest", fn=lambda weekend: "sleep" if weekend else None), depends_on=["weekend"])
    workflow.add_task(Task(name="work", fn=lambda weekend: None if weekend else "write"), depends_on=["weekend"])
    workflow.add_task(Task(name="day", fn=lambda rest, work: rest or work), depends_on=["rest", "work"])
    return workflow


for executor in (SequentialExecutor(), ThreadedExecutor(max_workers=2)):
    for weekday in (3, 7):
        workflow = build(weekday)
        executor.execute(workflow)
        print([workflow.get_task_result(name) for name in ("weekend", "rest", "work", "day")])
