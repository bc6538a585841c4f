"""Whether the administrator lets a task's body run; a refusal names the setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowweaver.manifest.problems import Problem
from flowweaver.manifest.reasons import BODY_NOT_ALLOWED
from flowweaver.policy import Policy, UnsafeBody


def allowed(path: str, task: Mapping[str, Any], policy: Policy) -> Iterator[Problem]:
    """What one task may not do here."""
    if task.get("shell") is not None and not policy.allows_body(UnsafeBody.SHELL):
        yield _switched_off(f"{path}.shell", "shell", UnsafeBody.SHELL)
    python = task.get("python")
    if not isinstance(python, Mapping):
        return
    if python.get("source") is not None and not policy.allows_body(UnsafeBody.PYTHON_SOURCE):
        yield _switched_off(f"{path}.python.source", "python.source", UnsafeBody.PYTHON_SOURCE)
    if python.get("isolation") == "Thread" and not policy.allows_body(UnsafeBody.THREAD):
        yield _switched_off(f"{path}.python.isolation", "isolation: Thread", UnsafeBody.THREAD)
    function = python.get("function")
    if isinstance(function, str):
        module = function.partition(":")[0]
        if not policy.allows_function(module):
            yield Problem(
                BODY_NOT_ALLOWED,
                f"{path}.python.function",
                f'functions of the module "{module[:120]}" may not run here: the administrator can allow them with '
                f"--functions {module[:120]} (Helm value functions)",
            )


def _switched_off(path: str, what: str, body: UnsafeBody) -> Problem:
    return Problem(
        BODY_NOT_ALLOWED,
        path,
        f"{what} is switched off here: the administrator can allow it with --unsafe-bodies {body} "
        "(Helm value unsafeBodies)",
    )
