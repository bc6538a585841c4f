"""Manifests as tests write them."""

from __future__ import annotations

from flowweaver.manifest import Accepted, Rejected, validate
from flowweaver.policy import Policy


def workflow(*tasks, name="etl", **spec):
    return {
        "apiVersion": "flowweaver.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": "team", "uid": "u1"},
        "spec": {"tasks": list(tasks), **spec},
    }


def value(name, *depends_on, content=1):
    task = {"name": name, "value": content}
    return {**task, "dependsOn": list(depends_on)} if depends_on else task


def problems(obj, policy=None):
    """`(reason, text)` of every problem, in order."""
    outcome = validate(obj, policy or Policy.permissive())
    if isinstance(outcome, Accepted):
        return []
    assert isinstance(outcome, Rejected)
    assert outcome.problems
    return [(problem.reason, str(problem)) for problem in outcome.problems]


def plan(obj, policy=None):
    outcome = validate(obj, policy or Policy.permissive())
    assert isinstance(outcome, Accepted), outcome
    return outcome.plan
