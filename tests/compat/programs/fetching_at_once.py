"""Coroutines that wait at the same time, and what follows from them."""

import asyncio
from functools import partial

from flowweaver import AsyncExecutor, Task, Workflow

waiting: set[int] = set()
most: list[int] = []


async def profile(number: int) -> dict:
    waiting.add(number)
    most.append(len(waiting))
    await asyncio.sleep(0.05)
    waiting.remove(number)
    return {"id": number, "name": f"member {number}"}


async def greeting(profile_2: dict) -> str:
    await asyncio.sleep(0)
    return f"hello, {profile_2['name']}"


members = Workflow(name="members")
for number in range(1, 6):
    members.add_task(Task(name=f"profile_{number}", fn=partial(profile, number)))
members.add_task(Task(name="greeting", fn=greeting), depends_on=["profile_2"])

AsyncExecutor().execute(members)

stats = members.get_workflow_stats()
print(f"{stats['completed']} of {stats['total_tasks']} completed, {max(most)} at once")
print(stats["total_time_seconds"] >= 0.05)
print(members.get_task_result("profile_5"))
print(members.get_task_result("greeting"))
