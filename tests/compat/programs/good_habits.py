"""Names that say something, timeouts where something may hang, work that may be repeated."""

import asyncio

from flowweaver import AsyncExecutor, Task, Workflow

table = {}
attempts = []


async def look_up_address(read_customer: dict) -> dict:
    attempts.append(1)
    if len(attempts) == 1:
        await asyncio.sleep(60)
    return {**read_customer, "city": "Ulm"}


def upsert_customer(look_up_address: dict) -> int:
    table[look_up_address["id"]] = look_up_address
    return len(table)


customers = Workflow(name="customers")
customers.add_task(Task(name="read_customer", fn=lambda: {"id": 7}))
customers.add_task(
    Task(
        name="look_up_address",
        fn=look_up_address,
        timeout=0.5,
        retries=2,
        on_retry=lambda name, attempt: print(f"{name} again after {attempt}"),
    ),
    depends_on=["read_customer"],
)
customers.add_task(Task(name="upsert_customer", fn=upsert_customer, timeout=60.0), depends_on=["look_up_address"])

AsyncExecutor().execute(customers)

print(table, customers.get_task_result("upsert_customer"), customers.get_task("look_up_address").error)
