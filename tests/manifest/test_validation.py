from __future__ import annotations

from types import MappingProxyType

from hypothesis import given, settings
from hypothesis import strategies as st

from flowweaver.manifest import Accepted, Rejected, validate
from flowweaver.manifest.models import Task, WorkflowSpec
from flowweaver.policy import Policy
from tests.manifest.manifests import problems, value, workflow

NAMES = sorted(
    {field.alias or name for model in (Task, WorkflowSpec) for name, field in model.model_fields.items()}
    | {"function", "source", "args", "url", "expect", "command", "env", "duration", "until", "limit", "when", "forEach"}
)
TEXTS = st.sampled_from(["a", "b-c", "5m", "${tasks.a.result}", "${tasks['b-c']}", "${", "Thread", "m:f"]) | st.text(
    max_size=6
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.text(st.characters(), max_size=3)
    | st.just("\ud800")
)
ANY = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=5)
        | st.dictionaries(st.integers() | st.booleans() | st.none(), inner, max_size=2)
    ),
    max_leaves=25,
)
TASK = st.fixed_dictionaries(
    {"name": TEXTS},
    optional={name: ANY for name in NAMES if name != "name"},
)
WORKFLOWS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("flowweaver.io/v1alpha1"),
        "kind": st.just("Workflow"),
        "metadata": st.just({"name": "x"}) | ANY,
        "spec": st.fixed_dictionaries(
            {"tasks": st.lists(TASK, max_size=4)}, optional={name: ANY for name in NAMES if name != "tasks"}
        )
        | ANY,
    }
)


@settings(max_examples=400, deadline=None)
@given(WORKFLOWS | ANY)
def test_any_json_is_accepted_or_rejected(obj):
    for policy in (Policy(), Policy.permissive()):
        outcome = validate(obj, policy)
        assert isinstance(outcome, Accepted | Rejected)
        if isinstance(outcome, Rejected):
            assert outcome.problems
            for problem in outcome.problems:
                assert problem.message
                str(problem).encode()
        else:
            outcome.plan.graph()


def nested(depth):
    content = 1
    for _ in range(depth):
        content = {"x": [content]}
    return content


def test_hostile_objects_are_refused():
    endless = []
    endless.append(endless)
    for content in (
        nested(10_000),
        endless,
        float("nan"),
        {1: 2},
        {"\ud800": 1},
        "\ud800",
        object(),
        {"a": {"b": b"x"}},
    ):
        assert isinstance(validate(workflow(value("a", content=content)), Policy()), Rejected)
        assert isinstance(validate(workflow(value("a"), params=content), Policy()), Rejected)


def test_too_many_expressions_are_refused_before_they_are_looked_at():
    ((reason, text),) = problems(workflow(value("a", content=["${1}"] * 10_001)))
    assert reason == "TooLarge"
    assert text == "spec: it has 10001 expressions and at most 10000 are allowed: use fewer"
    assert problems(workflow(value("a", content=["${1}"] * 10_000))) == []


def test_one_text_reports_ten_findings_at_most():
    assert len(problems(workflow(value("a", content="${1+}" * 100)))) == 10


def test_many_problems_are_cut_off():
    found = problems(workflow(*[{"name": f"t{number}", "value": 1, "x": 1} for number in range(1000)]))
    assert len(found) == 100


def test_a_thousand_tasks_with_all_dependencies_are_accepted():
    tasks = [
        value(f"t{number}", *[f"t{other}" for other in range(max(0, number - 64), number)]) for number in range(1000)
    ]
    assert problems(workflow(*tasks)) == []


def test_what_kubernetes_adds_is_no_problem():
    obj = workflow(value("a"))
    obj["metadata"].update(managedFields=[{"x": None}], generation=3, labels={"a": "b"})
    obj["status"] = {"observedGeneration": -1}
    assert problems(obj) == []


def test_any_kind_of_mapping_will_do_and_none_is_shared():
    content = {"x": [1]}
    obj = workflow(value("a", content=MappingProxyType(content)))
    outcome = validate(MappingProxyType(obj), Policy())
    assert isinstance(outcome, Accepted)
    content["x"].append(2)
    assert outcome.plan.tasks[0].body == {"value": {"x": [1]}}
