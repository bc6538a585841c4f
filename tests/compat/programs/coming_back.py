"""What completed is not done again by the next start, with either of the two stores."""

from flowweaver import (
    JSONStateStore,
    SequentialExecutor,
    SQLiteStateStore,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    task,
)

online = False


@task
def download():
    print("downloading")
    return {"rows": [1, 2, 3]}


@task(name="count rows", retries=1, timeout=10)
def count(download):
    print("counting")
    return len(download["rows"])


@task(name="upload")
def upload(**results):
    if not online:
        raise ConnectionError("no network")
    return f"uploaded {results['count rows']}"


def build() -> Workflow:
    workflow = Workflow(name="coming back")
    workflow.add_task(download)
    workflow.add_task(count, depends_on=["download"])
    workflow.add_task(upload, depends_on=["download", "count rows"])
    return workflow


for open_store, executor_class in [
    (lambda: JSONStateStore("state.json"), SequentialExecutor),
    (lambda: SQLiteStateStore("state.db"), ThreadedExecutor),
]:
    online = False
    try:
        executor_class(storage=open_store()).execute(build())
    except RuntimeError as error:
        print("failed:", "upload" in str(error))

    online = True
    workflow = build()
    executor_class(storage=open_store()).execute(workflow)
    print(workflow.get_task_result("upload"), workflow.get_task_status("download") is TaskStatus.COMPLETED)

    store = open_store()
    print(sorted(store.list_task_states()), store.load_task_state("count rows")["result"])
    store.clear_all_states()
    print(store.list_task_states())

print(count({"rows": [1]}), download.__name__)
