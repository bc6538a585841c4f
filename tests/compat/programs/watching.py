"""What happens is told while it happens."""

from flowweaver import SequentialExecutor, Task, TaskStatus, Workflow

answers = iter([ConnectionError("busy"), ConnectionError("still busy"), {"temperature": 21}])


def ask() -> dict:
    answer = next(answers)
    if isinstance(answer, Exception):
        raise answer
    return answer


def tell(name: str, status: TaskStatus) -> None:
    print(f"{name} is {status.value}")


def tell_of_retry(name: str, attempt: int) -> None:
    print(f"{name}: attempt {attempt} failed")


sensor = Task(name="sensor", fn=ask, retries=3, timeout=30.0, on_status_change=tell, on_retry=tell_of_retry)
weather = Workflow(name="weather")
weather.add_task(sensor)
weather.add_task(
    Task(
        name="report",
        fn=lambda sensor: f"{sensor['temperature']} degrees",
        on_status_change=lambda name, status: print(f"{name} started") if status.value == "running" else None,
    ),
    depends_on=["sensor"],
)

SequentialExecutor().execute(weather)

print(weather.get_task_result("report"))
