"""What may run here: one frozen value, decided by the administrator and asked by everyone.

Whoever may create a Workflow must not gain what this process may do. So what runs is a closed list: the operator starts
from `Policy()`, which allows data-only bodies alone, and `flowweaver run` on a laptop from `Policy.permissive()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase


class UnsafeBody(StrEnum):
    """Bodies that run code of the manifest with what this process may do."""

    SHELL = "shell"
    PYTHON_SOURCE = "python.source"
    THREAD = "thread"  # `python` with `isolation: Thread`


class Isolation(StrEnum):
    """Where Python code of a task runs."""

    THREAD = "Thread"
    PROCESS = "Process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may run. The default is what the operator does where nobody has set anything."""

    functions: tuple[str, ...] = ()  # globs over module names that `python.function` may name; `*` stops at no dot
    unsafe_bodies: frozenset[UnsafeBody] = frozenset()
    http_allow: tuple[str, ...] = ()  # CIDRs and host names reachable by `http` beside public addresses
    http_anywhere: bool = False  # True: no address is refused
    default_isolation: Isolation = Isolation.PROCESS
    whole_environment: bool = False  # True: Python in a process of its own sees all of this process's environment
    max_result_bytes: int | None = None  # what a Python function may return, as JSON; None: as much as any body

    @classmethod
    def permissive(cls) -> Policy:
        """All that there is: for one's own manifests on one's own machine."""
        return cls(
            functions=("*",),
            unsafe_bodies=frozenset(UnsafeBody),
            http_anywhere=True,
            default_isolation=Isolation.THREAD,
        )

    def allows_function(self, module: str) -> bool:
        """Whether `python.function` may name a function of that module."""
        return any(fnmatchcase(module, glob) for glob in self.functions)

    def allows_body(self, body: UnsafeBody) -> bool:
        """Whether that kind of code has been switched on."""
        return body in self.unsafe_bodies
