"""A task by itself, without any workflow; and a workflow that a coroutine awaits."""

import asyncio

from flowweaver import Task, Workflow


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


half = Task(name="half", fn=lambda number: number / 2)
half.execute({"number": 3})
print(half.status.value, half.result, half.is_async())

broken = Task(name="broken", fn={}.popitem, retries=1, on_retry=print)
broken.execute()
print(broken.status.value, broken.error)

twice = Task(name="twice", fn=double)
asyncio.run(twice.execute_async({"number": 4}))
print(twice.status.value, twice.result, twice.is_async())


async def main() -> None:
    workflow = Workflow(name="awaited")
    workflow.add_task(Task("number", lambda: 5))
    workflow.add_task(Task("double", double), depends_on=["number"])
    await workflow.execute_async()
    print(workflow.get_task_result("double"))


asyncio.run(main())
