"""The right executor for the work, a log that is turned on, and the numbers afterwards."""

import logging

from flowweaver import AsyncExecutor, SequentialExecutor, Task, TaskStatus, ThreadedExecutor, Workflow

lines = []
listener = logging.Handler()
listener.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("flowweaver").addHandler(listener)
logging.getLogger("flowweaver").setLevel(logging.DEBUG)


def executor_for(*, waits: bool, cores: int):
    if waits:
        return AsyncExecutor()
    return ThreadedExecutor(max_workers=cores) if cores > 1 else SequentialExecutor()


for waits, cores in [(True, 1), (False, 4), (False, 1)]:
    squares = Workflow(name="squares")
    for number in range(10):
        squares.add_task(Task(f"square_{number}", lambda number=number: number**2))
    executor = executor_for(waits=waits, cores=cores)
    executor.execute(squares)
    stats = squares.get_workflow_stats()
    print(type(executor).__name__, sum(squares.get_task_result(f"square_{number}") for number in range(10)))
    print({key: stats[key] for key in ("total_tasks", "completed", "failed", "pending", "running")})
    print(isinstance(stats["total_time_seconds"], float), squares.get_task_status("square_0") is TaskStatus.COMPLETED)

print(sum("squares" in line for line in lines) >= 3)
