"""One unit of work of a workflow: a function, and what to do when it fails."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

from flowweaver.errors import ArgumentError
from flowweaver.library.policies import Isolation, OnCrash, RetryPolicy, TriggerRule, choice
from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from flowweaver.core.plan import TaskPlan
    from flowweaver.library.boards import Board

F = TypeVar("F", bound=Callable[..., Any])
StatusCallback = Callable[[str, TaskStatus], None]
RetryCallback = Callable[[str, int], None]

MARK = "__flowweaver__"
"""Where `@task` leaves what it was told, on the function itself."""

LONGEST_NAME = 200
_NO_RETRY = RetryPolicy()


class Task:
    """One unit of work: a function and its policies, and after an execution what became of it.

    `fn` may be a coroutine function or return an awaitable. It gets the results of its dependencies by parameter name.
    `retries` counts attempts after the first; `timeout` is an attempt's, in seconds. `status`, `result`, `error`,
    `started_at` and `completed_at` show the newest execution; they can be set, which counts when a new run begins: a
    task that says COMPLETED is not run.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the order of 0.2; what is new is keyword-only
        self,
        name: str,
        fn: Callable[..., Any],
        retries: int = 0,
        timeout: float | None = None,
        status: TaskStatus = TaskStatus.PENDING,
        result: Any = None,
        error: str | None = None,
        on_status_change: StatusCallback | None = None,
        on_retry: RetryCallback | None = None,
        started_at: datetime | None = None,
        completed_at: datetime | None = None,
        *,
        depends_on: Iterable[str | Task | Callable[..., Any]] = (),
        retry: RetryPolicy | None = None,
        version: str = "",
        trigger_rule: TriggerRule | str = TriggerRule.ALL_COMPLETED,
        allow_failure: bool = False,
        on_crash: OnCrash | str = OnCrash.RERUN,
        isolation: Isolation | str = Isolation.THREAD,
    ) -> None:
        """`depends_on` is for `Workflow.add_task`; `version` says that the function means something else now, so that a
        resumed run does it again. `isolation="process"` runs an importable function in a process of its own, which is
        killed at a timeout. Raises `ArgumentError`.
        """
        self.name = checked_name(name)
        self.fn = fn
        self.retries = _checked_retries(name, retries)
        self.timeout = _checked_timeout(name, timeout)
        self.on_status_change = on_status_change
        self.on_retry = on_retry
        self.depends_on = list(depends_on) if not isinstance(depends_on, str) else _one_text(name, depends_on)
        self.retry = retry if retry is not None else _NO_RETRY
        self.version = str(version)
        self.trigger_rule = choice(TriggerRule, trigger_rule, f"task '{name}': trigger_rule")
        self.allow_failure = allow_failure
        self.on_crash = choice(OnCrash, on_crash, f"task '{name}': on_crash")
        self.isolation = choice(Isolation, isolation, f"task '{name}': isolation")
        self.plan: TaskPlan | None = None  # what a manifest says of it; None: it is a function
        self._board: Board | None = None  # of the newest execution; None: what was set by hand holds
        self._position = 0
        self._status, self._result, self._error = status, result, error
        self._started_at, self._completed_at = started_at, completed_at

    # ------------------------------------------------------------------------------------------------ what became of it

    @property
    def status(self) -> TaskStatus:
        """Where it stands, also while it is being executed."""
        board = self._board
        return self._status if board is None else board.status(self._position)

    @status.setter
    def status(self, status: TaskStatus) -> None:
        self._detach()
        self._status = status

    @property
    def result(self) -> Any:
        """What it returned: a copy of its own as JSON carries it; None where it has not completed."""
        board = self._board
        return self._result if board is None else board.result(self._position)

    @result.setter
    def result(self, result: Any) -> None:
        self._detach()
        self._result = result

    @property
    def error(self) -> str | None:
        """The text of what its newest attempt failed of."""
        board = self._board
        return self._error if board is None else board.error(self._position)

    @error.setter
    def error(self, error: str | None) -> None:
        self._detach()
        self._error = error

    @property
    def started_at(self) -> datetime | None:
        """When its first attempt started: local time, without a zone."""
        board = self._board
        return self._started_at if board is None else board.started_at(self._position)

    @started_at.setter
    def started_at(self, at: datetime | None) -> None:
        self._detach()
        self._started_at = at

    @property
    def completed_at(self) -> datetime | None:
        """When it finished, well or badly: local time, without a zone."""
        board = self._board
        return self._completed_at if board is None else board.completed_at(self._position)

    @completed_at.setter
    def completed_at(self, at: datetime | None) -> None:
        self._detach()
        self._completed_at = at

    @property
    def attempts(self) -> int:
        """How many attempts have been started, over all processes that worked on the run."""
        board = self._board
        return 0 if board is None else board.tasks[self._position].attempts

    def reset(self) -> None:
        """Forget what became of it."""
        self._board = None
        self._status, self._result, self._error = TaskStatus.PENDING, None, None
        self._started_at = self._completed_at = None

    def attach(self, board: Board, position: int) -> None:
        """Show what `board` says of the task at `position` from now on. For executors."""
        self._board, self._position = board, position

    def _detach(self) -> None:
        """Keep what the board says, and look at it no more."""
        if self._board is None:
            return
        self._status, self._result, self._error = self.status, self.result, self.error
        self._started_at, self._completed_at = self.started_at, self.completed_at
        self._board = None

    # ------------------------------------------------------------------------------------------------------ by itself

    def is_async(self) -> bool:
        """Whether `fn` is a coroutine function, or an object with a coroutine function as its `__call__`."""
        return inspect.iscoroutinefunction(self.fn) or inspect.iscoroutinefunction(getattr(self.fn, "__call__", None))  # noqa: B004 - it is asked what it is, not whether it is

    def execute(self, context: Mapping[str, Any] | None = None) -> None:
        """Run it here and now, without an engine: retries and timeout hold, nothing is stored, and a failure is told by
        `status` and `error`. `context` has results by dependency name. Raises `RuntimeError` for a coroutine function.
        """
        from flowweaver.library.direct import execute

        execute(self, context or {})

    async def execute_async(self, context: Mapping[str, Any] | None = None) -> None:
        """The same in the running event loop; a plain function runs in a thread."""
        from flowweaver.library.direct import execute_async

        await execute_async(self, context or {})

    def __repr__(self) -> str:
        """The name, the status, and what it is set to."""
        return f"Task(name={self.name!r}, status={self.status}, retries={self.retries}, timeout={self.timeout})"

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle keep what became of it, and do not follow its run."""
        kept = dict(self.__dict__)
        if self._board is not None:
            kept.update(
                _board=None,
                _status=self.status,
                _result=self.result,
                _error=self.error,
                _started_at=self.started_at,
                _completed_at=self.completed_at,
            )
        return kept


# -------------------------------------------------------------------------------------------------------- the decorator


@overload
def task(name: F, /) -> F: ...


@overload
def task(
    name: str | None = None,
    retries: int = 0,
    timeout: float | None = None,
    on_status_change: StatusCallback | None = None,
    on_retry: RetryCallback | None = None,
    **settings: Any,
) -> Callable[[F], F]: ...


def task(
    name: str | Callable[..., Any] | None = None,
    retries: int = 0,
    timeout: float | None = None,
    on_status_change: StatusCallback | None = None,
    on_retry: RetryCallback | None = None,
    **settings: Any,
) -> Any:
    """Mark a function as a task: `@task`, or `@task(name=…, retries=…, …)` with what `Task` takes.

    The function itself is given back, so that a test simply calls it. Raises `ArgumentError` for settings that `Task`
    does not take, when the function is decorated.
    """
    told = {"retries": retries, "timeout": timeout, "on_status_change": on_status_change, "on_retry": on_retry}

    def mark(fn: F) -> F:
        own = name if isinstance(name, str) else getattr(fn, "__name__", type(fn).__name__)
        _task(fn, {"name": own, **told, **settings})  # what is wrong is said here, where it was written
        setattr(fn, MARK, {"name": own, **told, **settings, "signature": _signature(fn)})
        return fn

    return mark(name) if callable(name) else mark


def task_of(marked: Callable[..., Any]) -> Task:
    """A new task of a function that `task` has marked; raises `AttributeError` for another one."""
    return _task(marked, {key: value for key, value in getattr(marked, MARK).items() if key != "signature"})


def _task(fn: Callable[..., Any], settings: dict[str, Any]) -> Task:
    try:
        return Task(fn=fn, **settings)
    except TypeError as exc:
        raise ArgumentError(f"@task of {settings['name']}: {exc}") from None


def _signature(fn: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)
    except (TypeError, ValueError):  # a function in C that tells nobody
        return None


# ------------------------------------------------------------------------------------------------------------- checks


def checked_name(name: object) -> str:
    """`name` as the name of a task; raises `ArgumentError`."""
    if not isinstance(name, str) or not name or len(name) > LONGEST_NAME:
        raise ArgumentError(f"a task's name is {name!r:.80}: use a text of 1 to {LONGEST_NAME} characters")
    if name.startswith("("):
        raise ArgumentError(f"a task's name is {name!r:.80}: a name must not begin with a parenthesis")
    return name


def _checked_retries(name: str, retries: object) -> int:
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ArgumentError(f"task '{name}': retries is {retries!r}: use a whole number of at least 0")
    return retries


def _checked_timeout(name: str, timeout: object) -> float | None:
    if timeout is None or timeout == 0:  # 0 has always meant none
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0 or math.isinf(timeout):
        raise ArgumentError(f"task '{name}': timeout is {timeout!r}: use a number of seconds above 0, or None")
    return timeout


def _one_text(name: str, depends_on: str) -> list[Any]:
    raise ArgumentError(f"task '{name}': depends_on is the text {depends_on!r}: use a list, [{depends_on!r}]")
