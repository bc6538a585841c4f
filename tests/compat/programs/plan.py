"""Which tasks may run together is known before anything runs; what can not be a graph is refused."""

from flowweaver import Task, Workflow


def nothing() -> None: ...


bakery = Workflow(name="bakery")
bakery.add_task(Task("flour", nothing))
bakery.add_task(Task("water", nothing))
bakery.add_task(Task("dough", nothing), depends_on=["flour", "water"])
bakery.add_task(Task("oven", nothing))
bakery.add_task(Task("bread", nothing), depends_on=["dough", "oven"])

for number, layer in enumerate(bakery.get_execution_plan(), start=1):
    print(number, [task.name for task in layer])

print(bakery.get_dependencies("bread"), bakery.get_task_dependencies("dough"), bakery.get_dependencies("oven"))
print(sorted(bakery.get_all_tasks()), bakery.get_task("bread").name, bakery.get_task("cake"))

for name, depends_on in [("cake", ["eggs"]), ("bread", []), ("loop", ["loop"])]:
    try:
        bakery.add_task(Task(name, nothing), depends_on=depends_on)
    except ValueError as error:
        print("refused:", name in str(error))

# Neither of two tasks can wait for the other.
kitchen = Workflow()
try:
    kitchen.add_task(Task("cook", nothing), depends_on=["eat"])
    kitchen.add_task(Task("eat", nothing), depends_on=["cook"])
except ValueError as error:
    print("refused:", "eat" in str(error))
print(len(kitchen.get_all_tasks()), kitchen.name)
