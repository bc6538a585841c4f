"""Three tasks in a row, one after the other."""

from flowweaver import SequentialExecutor, Task, Workflow

orders = Task(name="orders", fn=lambda: {"prices": [3, 4, 5]})
total = Task(name="total", fn=lambda orders: sum(orders["prices"]))
receipt = Task(name="receipt", fn=lambda: print("receipt printed"))

shop = Workflow(name="shop")
shop.add_task(orders)
shop.add_task(total, depends_on=["orders"])
shop.add_task(receipt, depends_on=["total"])

executor = SequentialExecutor()
executor.execute(shop)

print(shop.get_task_result("orders"))
print(shop.get_task_result("total"))
print(shop.get_task_result("receipt"))
