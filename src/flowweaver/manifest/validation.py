"""Everything that is wrong with a manifest, at once and in the order of the file; or the plan, if nothing is.

Three views look at the same object: its shape, its fields (pydantic), and what its parts mean together (names, graph,
expressions, policy). The last one reads the raw object as far as it can be read, so that one mistake hides no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flowweaver.core.plan import RunPlan
from flowweaver.manifest.compiling import compile_workflow
from flowweaver.manifest.meaning import Meaning, meaning_of
from flowweaver.manifest.models import Workflow
from flowweaver.manifest.ordering import in_file_order
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.shapes import plain, shape_problems
from flowweaver.manifest.translation import translate
from flowweaver.policy import Policy

PROBLEMS_LIMIT = 100
"""So many are reported at most; who has more of them mends these first."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """It may run."""

    workflow: Workflow
    plan: RunPlan


@dataclass(frozen=True, slots=True)
class Rejected:
    """It may not run. At least one problem, in the order of the file."""

    problems: tuple[Problem, ...]


def validate(obj: Mapping[str, Any], policy: Policy) -> Accepted | Rejected:
    """Check a Workflow object as it was read from YAML or from the API server. Never raises for bad input."""
    misshapen = shape_problems(obj)
    if misshapen:
        return Rejected(tuple(misshapen))
    obj = plain(obj)
    problems: list[Problem] = []
    workflow = None
    try:
        workflow = Workflow.model_validate(obj)
    except ValidationError as exc:
        problems += translate(exc, obj)
    meaning: Meaning = meaning_of(obj, policy)
    problems += meaning.problems
    if workflow is None or problems:
        return Rejected(in_file_order(problems, obj)[:PROBLEMS_LIMIT])
    return Accepted(workflow, compile_workflow(workflow, meaning.found, meaning.output_tasks, policy))
