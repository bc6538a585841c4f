"""Workflows from manifests and manifests from workflows: what the one says, the other says too."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flowweaver import (
    AsyncExecutor,
    ManifestError,
    RetryPolicy,
    SequentialExecutor,
    SQLiteStateStore,
    Task,
    TaskStatus,
    ThreadedExecutor,
    Workflow,
    WorkflowExecutionError,
    WorkflowStatus,
    from_manifest,
    task,
    to_manifest,
)
from flowweaver.core.records import replace
from flowweaver.library.compiling import compiled
from flowweaver.library.manifest_writing import duration
from flowweaver.manifest import Accepted, validate
from flowweaver.manifest.durations import seconds
from flowweaver.policy import Policy
from tests.library import steps

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXECUTORS = [SequentialExecutor, ThreadedExecutor, AsyncExecutor]


def manifest(*tasks, name="etl", **spec):
    return {
        "apiVersion": "flowweaver.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "spec": {**spec, "tasks": list(tasks)},
    }


def accepted_plan(content):
    verdict = validate(content, Policy.permissive())
    assert isinstance(verdict, Accepted), verdict
    return verdict.plan


def problems(error):
    return [(problem.path, problem.message) for problem in error.value.problems]


# ------------------------------------------------------------------------------------------------------- round trips

DURATIONS = st.sampled_from(["1s", "90s", "1m30s", "1h", "250ms", "61057ms", "1s500ms", "1h30m", "7m3ms", "999999999h"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5).filter(lambda text: "$" not in text),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
RETRY = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(0, 5),
        "delay": DURATIONS | st.just("0s"),
        "factor": st.sampled_from([1, 1.5, 2, 100]),
        "maxDelay": DURATIONS,
        "jitter": st.sampled_from(["None", "Full"]),
        "when": st.sampled_from(["${attempt < 3}", '${error.type == "ValueError"}', "${params.limit > 2}"]),
    },
)


@st.composite
def bodies(draw, others):
    """One body, which may read some of `others`."""
    read = draw(st.sampled_from(others)) if others and draw(st.booleans()) else None
    expression = "${params.limit}" if read is None else f'${{tasks["{read}"].result}}'
    return draw(
        st.sampled_from(
            [
                {"value": draw(JSON)},
                {"value": {"of": [expression, "${workflow.name}"]}},
                {"python": {"function": "tests.library.steps:numbers"}},
                {"python": {"source": "def main(x):\n    return x", "args": {"x": expression}, "isolation": "Thread"}},
                {"python": {"function": "tests.library.steps:nothing", "isolation": "Process"}},
                {"shell": {"command": ["echo", expression], "resultFrom": "Stdout", "successExitCodes": [0, 3]}},
                {"shell": {"script": "exit 0", "env": [{"name": "A", "value": expression}]}},
                {"http": {"url": "http://127.0.0.1/${params.limit}"}},
                {
                    "http": {
                        "url": "https://localhost/",
                        "method": "POST",
                        "body": {"a": expression},
                        "headers": [{"name": "x-a", "value": "b"}],
                        "expect": {"status": [200, "3xx"], "when": "${response.status < 300}"},
                        "followRedirects": False,
                    }
                },
                {"wait": {"duration": "5ms"}},
                {"wait": {"until": "2020-01-01T00:00:00Z"}},
            ]
        )
    )


@st.composite
def manifests(draw):
    names = draw(
        st.lists(st.from_regex(r"[a-z]{1,3}(-[a-z0-9]{1,2})?", fullmatch=True), unique=True, min_size=1, max_size=7)
    )
    tasks = []
    for position, name in enumerate(names):
        others = names[:position]
        tasks.append(
            {
                "name": name,
                **draw(bodies(others)),
                **draw(
                    st.fixed_dictionaries(
                        {},
                        optional={
                            "dependsOn": st.lists(st.sampled_from(others), unique=True) if others else st.just([]),
                            "triggerRule": st.sampled_from(["AllCompleted", "AllFinished"]),
                            "retry": RETRY,
                            "timeout": DURATIONS,
                            "allowFailure": st.booleans(),
                            "onCrash": st.sampled_from(["Rerun", "Fail"]),
                        },
                    )
                ),
            }
        )
    spec = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "retry": RETRY,
                "failurePolicy": st.sampled_from(["FailFast", "Continue"]),
                "timeout": DURATIONS,
                "parallelism": st.integers(1, 9),
                "priority": st.integers(-5, 5),
                "outputs": st.just([{"name": "last", "value": f'${{tasks["{names[-1]}"].phase}}'}]),
            },
        )
    )
    content = manifest(*draw(st.permutations(tasks)), **spec, params=[{"name": "limit", "value": draw(JSON)}])
    content["metadata"].update(draw(st.sampled_from([{}, {"namespace": "team", "uid": "u1"}])))
    return content


def by_name(plan):
    """A plan without what a round trip may change: the order, and what only says where a default comes from."""

    def plain(each):
        defaults = {"isolation": "Thread"} if each.kind == "python" else {}
        body = {**defaults, **each.body}
        if each.kind == "value" and body["value"] is None:
            body["value"] = "${null}"
        return replace(each, body=body, version="", depends_on=tuple(sorted(each.depends_on)))

    return replace(plan, tasks=()), {each.name: plain(each) for each in plan.tasks}


@given(manifests())
@settings(deadline=None, max_examples=50)
def test_a_workflow_of_a_manifest_means_what_the_manifest_means_and_says_it_again(content):
    workflow = from_manifest(content)
    written = to_manifest(workflow)
    again = from_manifest(written)

    assert by_name(compiled(workflow).plan) == by_name(accepted_plan(content))
    plan, tasks = by_name(accepted_plan(written))
    meant, wanted = by_name(accepted_plan(content))
    assert tasks == {
        name: replace(
            each,
            timeout_seconds=tasks[name].timeout_seconds,
            retry=replace(
                each.retry,
                delay_seconds=tasks[name].retry.delay_seconds,
                max_delay_seconds=tasks[name].retry.max_delay_seconds,
            ),
        )
        for name, each in wanted.items()
    }
    for name, each in wanted.items():
        assert tasks[name].timeout_seconds == pytest.approx(each.timeout_seconds)
        assert tasks[name].retry.delay_seconds == pytest.approx(each.retry.delay_seconds)
        assert tasks[name].retry.max_delay_seconds == pytest.approx(each.retry.max_delay_seconds)
    assert replace(plan, timeout_seconds=None) == replace(meant, timeout_seconds=None)
    assert plan.timeout_seconds == pytest.approx(meant.timeout_seconds)
    assert to_manifest(again) == written
    assert compiled(again).graph == compiled(workflow).graph


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "fn": st.sampled_from([steps.numbers, steps.everything, steps.nothing]),
                "retries": st.integers(0, 3),
                "retry": st.builds(
                    RetryPolicy,
                    delay=st.integers(0, 10**7).map(lambda number: number / 1000),
                    factor=st.sampled_from([1.0, 2.0, 3.5]),
                    maximum=st.sampled_from([0.001, 60.0, 300.0, 86400.0]),
                    jitter=st.booleans(),
                ),
                "timeout": st.none() | st.integers(1, 10**12).map(lambda number: number / 1000),
                "trigger_rule": st.sampled_from(["all_completed", "all_finished"]),
                "allow_failure": st.booleans(),
                "on_crash": st.sampled_from(["rerun", "fail"]),
                "isolation": st.sampled_from(["thread", "process"]),
            }
        ),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_a_workflow_of_functions_is_the_same_when_it_comes_back(settings_of_tasks, data):
    workflow = Workflow("nightly", failure_policy="continue", timeout=5400, parallelism=2, priority=3)
    for position, told in enumerate(settings_of_tasks):
        others = [f"step-{number}" for number in range(position)]
        wanted = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
        workflow.add_task(Task(f"step-{position}", **told), depends_on=wanted)

    again = from_manifest(json.loads(json.dumps(to_manifest(workflow))))

    assert to_manifest(again) == to_manifest(workflow)
    for field in ("name", "failure_policy", "timeout", "parallelism", "priority"):
        assert getattr(again, field) == getattr(workflow, field)
    for one, other in zip(workflow.tasks.values(), again.tasks.values(), strict=True):
        assert other.plan.body["function"] == f"tests.library.steps:{one.fn.__name__}"
        assert other.plan.body.get("isolation", "Thread").lower() == one.isolation.value.lower()
        assert again.get_dependencies(one.name) == workflow.get_dependencies(one.name)
        assert (other.name, other.retries, other.trigger_rule) == (one.name, one.retries, one.trigger_rule)
        assert (other.allow_failure, other.on_crash) == (one.allow_failure, one.on_crash)
        assert other.timeout == pytest.approx(one.timeout)
        if one.retries:
            assert other.retry.delay == pytest.approx(one.retry.delay)
            assert replace(other.retry, delay=one.retry.delay) == one.retry


@given(st.integers(0, 10**15))
def test_a_length_of_time_is_written_as_manifests_read_it(milliseconds):
    assert seconds(duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-9)


# ------------------------------------------------------------------------------------------------------- executing


def run_by_command(path, *arguments):
    command = [sys.executable, "-m", "flowweaver", "run", str(path), "-o", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)["status"]


def seen(workflow):
    """As `flowweaver run` shows it."""
    tasks = {each.name: (each.status.value.capitalize(), each.attempts) for each in workflow.tasks.values()}
    return workflow.status.value.capitalize(), tasks, workflow.outputs


def seen_by_command(status):
    tasks = {each["name"]: (each["phase"], each.get("attempts", 0)) for each in status["tasks"]}
    return status["phase"], tasks, {each["name"]: each["value"] for each in status.get("outputs", ())}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("name", ["hello", "failures"])
def test_an_example_ends_on_every_executor_as_by_the_command(name, executor):
    workflow = from_manifest(EXAMPLES / f"{name}.yaml")

    failure = None
    try:
        workflow.execute(executor())
    except WorkflowExecutionError as error:
        failure = error.failures[0].error_type

    assert failure == (None if name == "hello" else "ExpressionError")
    assert seen(workflow) == seen_by_command(run_by_command(EXAMPLES / f"{name}.yaml"))


def test_the_example_with_every_kind_of_body_ends_as_by_the_command(tmp_path):
    sys.path.insert(0, str(EXAMPLES))
    try:
        import demo
    finally:
        sys.path.remove(str(EXAMPLES))
    ends = []
    for way in ("library", "command"):
        target = tmp_path / f"{way}.csv"
        with demo.Source() as source:
            thread = threading.Thread(target=source.serve_forever, args=(0.01,))
            thread.start()
            params = {"source": f"http://127.0.0.1:{source.server_port}", "target": str(target)}
            if way == "library":
                workflow = from_manifest(EXAMPLES / "etl.yaml")
                workflow.params.update(params)
                ends.append(seen(workflow.execute(ThreadedExecutor())))
            else:
                given_params = [word for key, text in params.items() for word in ("-p", f"{key}={json.dumps(text)}")]
                ends.append(seen_by_command(run_by_command(EXAMPLES / "etl.yaml", *given_params)))
            source.shutdown()
            thread.join()
        ends.append(target.read_text())

    assert ends[:2] == ends[2:]
    assert ends[0][1]["rates"] == ("Completed", 2)  # the first request for them is answered with 503


@pytest.mark.parametrize("executor", EXECUTORS)
def test_functions_give_the_same_results_when_they_run_from_a_manifest(executor):
    workflow = Workflow("sums")
    workflow.add_task(Task("numbers", steps.numbers))
    workflow.add_task(Task("doubled", steps.doubled), depends_on=["numbers"])
    workflow.add_task(Task("total", steps.total), depends_on=["numbers", "doubled"])
    workflow.add_task(Task("all-of-them", steps.everything), depends_on=["total", "doubled"])
    workflow.add_task(Task("elsewhere", steps.total, isolation="process"), depends_on=["numbers", "doubled"])
    again = from_manifest(yaml.safe_dump(to_manifest(workflow)))

    assert workflow.execute(executor()).results == again.execute(executor()).results
    assert again.get_task("total").result == 118
    assert again.get_task("all-of-them").result == {"total": 118, "doubled": [2, 4, 6]}


def test_params_can_be_set_before_it_is_executed():
    workflow = from_manifest(EXAMPLES / "hello.yaml")
    workflow.params["who"] = "moon"
    workflow.get_task("pause").plan = (
        from_manifest(manifest({"name": "pause", "wait": {"duration": "1ms"}})).tasks["pause"].plan
    )

    workflow.execute(SequentialExecutor())

    assert workflow.results["greeting"] == "Hello, moon!"
    assert workflow.outputs == {"letters": 4}


def test_params_that_are_no_json_are_refused_with_their_place():
    workflow = from_manifest(manifest({"name": "a", "value": "${params.x}"}, params=[{"name": "x", "value": 1}]))
    workflow.params["x"] = {1, 2}

    with pytest.raises(ValueError, match="params"):
        workflow.execute(SequentialExecutor())
    with pytest.raises(ManifestError, match=r"spec.params\[0\].value"):
        to_manifest(workflow)


def test_outputs_are_there_after_a_restart_too(tmp_path):
    content = manifest({"name": "a", "value": 3}, outputs=[{"name": "twice", "value": "${tasks.a.result * 2}"}])
    before = from_manifest(content)
    assert before.outputs == {}
    before.execute(ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db")))

    after = from_manifest(content)
    after.execute(ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db")))

    assert before.outputs == after.outputs == {"twice": 6}


def test_outputs_that_fail_fail_the_workflow_and_are_not_among_its_tasks():
    content = manifest({"name": "a", "value": 3}, outputs=[{"name": "x", "value": "${tasks.a.result.rows}"}])
    workflow = from_manifest(content)

    with pytest.raises(WorkflowExecutionError, match="outputs"):
        workflow.execute(SequentialExecutor())

    assert workflow.outputs == {}
    assert workflow.status is WorkflowStatus.FAILED
    assert list(workflow.tasks) == ["a"]


def test_a_task_that_says_something_else_runs_again_and_the_others_do_not(tmp_path):
    def execute(rate, base=20):
        workflow = from_manifest(
            manifest(
                {"name": "base", "value": base},
                {"name": "other", "value": "${workflow.startedAt}"},
                {"name": "priced", "value": "${tasks.base.result * params.rate}"},
                params=[{"name": "rate", "value": rate}],
            )
        )
        return workflow.execute(ThreadedExecutor(state_store=SQLiteStateStore(tmp_path / "state.db"))).results

    first = execute(2)
    time.sleep(0.002)
    other_rate = execute(3)
    other_base = execute(3, base=5)

    assert (first["priced"], other_rate["priced"], other_base["priced"]) == (40, 60, 15)
    assert first["other"] == other_rate["other"] == other_base["other"]


def test_retries_that_are_set_by_hand_hold_and_when_is_still_asked():
    content = manifest({"name": "a", "shell": {"script": "exit 7"}, "retry": {"limit": 0, "when": "${attempt < 3}"}})
    workflow = from_manifest(content)
    workflow.get_task("a").retries = 5
    workflow.get_task("a").retry = RetryPolicy(delay=0)

    with pytest.raises(WorkflowExecutionError):
        workflow.execute(ThreadedExecutor())

    assert workflow.get_task("a").attempts == 3


def test_a_task_of_a_manifest_says_what_it_is_when_it_is_called():
    found = from_manifest(manifest({"name": "page", "http": {"url": "http://localhost/"}})).get_task("page")

    with pytest.raises(RuntimeError, match="task 'page' is a http task of a manifest: only an executor"):
        found.fn()
    found.execute()

    assert found.status is TaskStatus.FAILED
    assert "only an executor can run it" in found.error


# ---------------------------------------------------------------------------------------------------------- reading


def test_it_is_read_from_a_dict_a_text_and_a_file_alike(tmp_path):
    content = manifest({"name": "a", "value": 1})
    path = tmp_path / "workflow.yaml"
    path.write_text("\ufeff" + yaml.safe_dump(content))

    found = [
        from_manifest(source) for source in (content, yaml.safe_dump(content), json.dumps(content), path, str(path))
    ]

    assert {json.dumps(to_manifest(workflow)) for workflow in found} == {json.dumps(content)}


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_manifest(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: 1\n---\nb: 2\n", "2 documents"),
        (b"\n", "0 documents"),
        (b"a: [\n", "line 2"),
        (b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_what_is_not_one_manifest_is_refused_with_the_fix(tmp_path, text, message):
    (tmp_path / "workflow.yaml").write_bytes(text)

    with pytest.raises(ManifestError, match=message):
        from_manifest(tmp_path / "workflow.yaml")


def test_every_problem_of_a_manifest_is_told_at_once():
    content = manifest(
        {"name": "a", "value": "${params.missing}", "dependsOn": ["nobody"]},
        {"name": "b", "python": {"function": "no colon"}, "timeout": "soon"},
    )

    with pytest.raises(ManifestError) as error:
        from_manifest(content)

    assert {path for path, _ in problems(error)} == {
        "spec.tasks[0].value",
        "spec.tasks[0].dependsOn[0]",
        "spec.tasks[1].python.function",
        "spec.tasks[1].timeout",
    }


def test_what_is_said_to_a_run_that_is_there_is_refused_for_one_that_is_not():
    with pytest.raises(ManifestError) as error:
        from_manifest(manifest({"name": "a", "value": 1}, suspend=True, shutdown="Stop"))

    assert [path for path, _ in problems(error)] == ["spec.suspend", "spec.shutdown"]


def test_tasks_keep_the_order_of_the_file_as_far_as_their_dependencies_let_them():
    content = manifest(
        {"name": "last", "value": 1, "dependsOn": ["second", "first"]},
        {"name": "apart", "value": 1},
        {"name": "first", "value": 1},
        {"name": "second", "value": 1, "dependsOn": ["first"]},
    )

    assert list(from_manifest(content).tasks) == ["first", "second", "last", "apart"]


def test_a_thousand_tasks_in_the_worst_order_are_read():
    tasks = [{"name": f"t{number}", "value": 1, "dependsOn": [f"t{number + 1}"]} for number in range(999)]

    assert len(from_manifest(manifest(*tasks, {"name": "t999", "value": 1}))) == 1000


# ---------------------------------------------------------------------------------------------------------- writing


def local():
    def inside():
        return 1

    return inside


@pytest.mark.parametrize(
    ("fn", "fix"),
    [
        (lambda: 1, "define it with def at the top of a module"),
        (local(), "define it with def at the top of a module"),
        (Path().exists, "define it with def at the top of a module"),
        (functools.partial(steps.total, bonus=1), "define it with def at the top of a module"),
        (steps.by_position, "remove the / from its parameters"),
    ],
    ids=["lambda", "nested", "method", "partial", "by position"],
)
def test_a_function_that_can_not_be_named_is_refused_with_the_task_and_the_fix(fn, fix):
    workflow = Workflow("w")
    workflow.add_task(Task("fine", steps.nothing))
    workflow.add_task(Task("odd", fn))

    with pytest.raises(ManifestError) as error:
        to_manifest(workflow)

    ((path, message),) = problems(error)
    assert path == "spec.tasks[1].python.function"
    assert "task 'odd'" in message
    assert fix in message


def test_a_function_of_the_script_itself_is_refused_with_the_fix(tmp_path):
    (tmp_path / "script.py").write_text(
        "from flowweaver import Task, Workflow, to_manifest\n"
        "def step(): pass\n"
        "w = Workflow('w')\nw.add_task(Task('a', step))\nto_manifest(w)\n"
    )

    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)

    assert "task 'a'" in done.stderr
    assert "move it into a module" in done.stderr


def test_everything_that_a_manifest_can_not_say_is_told_at_once():
    workflow = Workflow("!!!", timeout=0.0001)
    workflow.add_task(Task("a", lambda: 1, timeout=0.00015))
    workflow.add_task(
        Task("b", steps.nothing, retries=1, retry=RetryPolicy(on=(KeyError,), timeouts=False, delay=0.0001))
    )
    workflow.add_task(Task("???", steps.nothing))
    workflow.add_task(Task("c", local(), isolation="process"))

    with pytest.raises(ManifestError) as error:
        to_manifest(workflow)

    assert sorted(path for path, _ in problems(error)) == [
        "metadata.name",
        "spec.tasks[0].python.function",
        "spec.tasks[0].timeout",
        "spec.tasks[1].retry",
        "spec.tasks[1].retry",
        "spec.tasks[1].retry.delay",
        "spec.tasks[2].name",
        "spec.tasks[3].python.function",
        "spec.timeout",
    ]


def test_policies_of_retries_that_never_happen_are_nobodys_problem():
    workflow = Workflow("w")
    workflow.add_task(Task("a", steps.nothing, retry=RetryPolicy(on=(KeyError,), timeouts=False)))

    assert to_manifest(workflow)["spec"]["tasks"] == [
        {"name": "a", "python": {"function": "tests.library.steps:nothing"}}
    ]


def test_names_are_made_such_as_kubernetes_takes():
    workflow = Workflow("Nightly ETL (v2)")
    workflow.add_task(Task("Load Orders", steps.nothing))
    workflow.add_task(Task("2nd_Report", steps.nothing), depends_on=["Load Orders"])

    written = to_manifest(workflow)

    assert written["metadata"]["name"] == "nightly-etl-v2"
    assert [each["name"] for each in written["spec"]["tasks"]] == ["load-orders", "task-2nd_report"]
    assert written["spec"]["tasks"][1]["dependsOn"] == ["load-orders"]


@pytest.mark.parametrize(
    "reader",
    [lambda Numbers: 1, lambda numbers=1: 1, steps.everything],  # noqa: N803 - it goes by the task's name
    ids=["old", "new", "all"],
)
def test_a_name_that_a_function_goes_by_is_not_changed_but_refused(reader):
    workflow = Workflow("w")
    workflow.add_task(Task("Numbers", steps.numbers))
    workflow.add_task(Task("reader", reader), depends_on=["Numbers"])

    with pytest.raises(ManifestError) as error:
        to_manifest(workflow)

    assert (problems(error)[0][0], problems(error)[0][1].rpartition(" ")[2]) == ("spec.tasks[0].name", "'numbers'")


def test_two_tasks_that_would_get_one_name_are_refused():
    workflow = Workflow("w")
    workflow.add_task(Task("load all", steps.nothing))
    workflow.add_task(Task("load-all", steps.nothing))

    with pytest.raises(ManifestError, match='two tasks are named "load-all"'):
        to_manifest(workflow)


def test_more_than_a_manifest_holds_is_refused():
    workflow = Workflow("w")
    for number in range(1001):
        workflow.add_task(Task(f"t{number}", steps.nothing))

    with pytest.raises(ManifestError, match="1000"):
        to_manifest(workflow)


def test_a_marked_function_goes_into_a_manifest_as_what_it_is():
    marked = task(name="counted", retries=2)(steps.nothing)
    try:
        workflow = Workflow("w")
        workflow.add_task(marked)

        assert to_manifest(workflow)["spec"]["tasks"] == [
            {
                "name": "counted",
                "retry": {"limit": 2, "delay": "100ms", "maxDelay": "1m"},
                "python": {"function": "tests.library.steps:nothing"},
            }
        ]
    finally:
        del steps.nothing.__flowweaver__


def test_an_added_dependency_stands_in_the_manifest_too():
    workflow = from_manifest(manifest({"name": "a", "value": 1}, {"name": "b", "value": "${tasks.a.result}"}))
    other = Workflow("other")
    other.add_task(Task("before", steps.nothing))
    for name, found in workflow.tasks.items():
        other.add_task(found, depends_on=["before", *workflow.get_dependencies(name)])

    written = to_manifest(other)

    assert [each.get("dependsOn") for each in written["spec"]["tasks"]] == [None, ["before"], ["before", "a"]]


def test_a_null_is_written_so_that_kubectl_keeps_it():
    content = manifest(
        {"name": "a", "value": None}, {"name": "b", "http": {"url": "http://localhost", "method": "POST", "body": None}}
    )

    written = to_manifest(from_manifest(content))["spec"]["tasks"]

    assert [written[0]["value"], written[1]["http"]["body"]] == ["${null}", "${null}"]
    assert from_manifest(manifest(written[0])).execute(SequentialExecutor()).results == {"a": None}


def test_the_names_alone_load_nothing_of_what_manifests_need():
    code = (
        "import sys; from flowweaver import from_manifest, to_manifest, export_mermaid, Workflow;"
        "print([name for name in ('asyncio', 'pydantic', 'yaml', 'kubernetes', 'apsw') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
