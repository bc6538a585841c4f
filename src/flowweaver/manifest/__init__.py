"""What users write: reading it, checking all of it at once, and compiling it to a plan.

This room knows what a manifest may say; whether it may run here is the `Policy`'s word, and running it is nobody's
business here. Nothing raises for bad input: there are only answers.
"""

from flowweaver.manifest.definition import CRD_FILE, crd, crd_yaml
from flowweaver.manifest.documents import load_documents
from flowweaver.manifest.models import Workflow
from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reading import results_needed
from flowweaver.manifest.validation import Accepted, Rejected, validate

__all__ = [
    "CRD_FILE",
    "Accepted",
    "Problem",
    "Rejected",
    "Workflow",
    "crd",
    "crd_yaml",
    "load_documents",
    "results_needed",
    "validate",
]
