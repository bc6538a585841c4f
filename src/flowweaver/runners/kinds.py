"""The registry: which runner runs which kind of body. Adding a kind is one line here and one module beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType

from flowweaver.core.events import Outcome
from flowweaver.policy import Policy
from flowweaver.ports import Attempt, Runner
from flowweaver.runners.addresses import AddressGuard
from flowweaver.runners.python import run_python
from flowweaver.runners.shell import run_shell
from flowweaver.runners.values import run_outputs, run_value
from flowweaver.runners.waits import run_wait


def runners_for(policy: Policy, now: Callable[[], float]) -> Mapping[str, Runner]:
    """Every runner by its kind, bound to the policy where it has something to say."""
    return MappingProxyType(
        {
            "value": run_value,
            "outputs": run_outputs,
            "wait": partial(run_wait, now=now),
            "http": _http(policy),
            "python": partial(run_python, policy=policy),
            "shell": partial(run_shell, policy=policy),
        }
    )


def _http(policy: Policy) -> Runner:
    """The http runner, whose library is only loaded for the first request: it would be a fifth of the start-up."""
    AddressGuard(policy)  # what is wrong with the policy is said now

    @cache
    def runner() -> Runner:
        from flowweaver.runners.http import HttpRunner

        return HttpRunner(policy)

    def run_http(attempt: Attempt) -> Outcome:
        return runner()(attempt)

    return run_http
