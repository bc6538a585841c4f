"""One unit of work of a workflow: a function, and what to do when it fails."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from flowweaver.core.plan import TaskPlan
from flowweaver.errors import ArgumentError
from flowweaver.library.boards import Board
from flowweaver.library.policies import Isolation, OnCrash, RetryPolicy, TriggerRule, choice
from flowweaver.library.statuses import TaskStatus

if TYPE_CHECKING:
    from typing import TypedDict, Unpack

    class TaskSettings(TypedDict, total=False):
        """What `@task` takes beside its named arguments: see `Task`."""

        depends_on: Iterable[str | Task | Callable[..., Any]]
        retry: RetryPolicy
        version: str
        trigger_rule: TriggerRule | str
        allow_failure: bool
        on_crash: OnCrash | str
        isolation: Isolation | str


F = TypeVar("F", bound=Callable[..., Any])
StatusCallback = Callable[[str, TaskStatus], None]
RetryCallback = Callable[[str, int], None]

MARK = "__flowweaver__"
"""Where `@task` leaves what it was told, on the function itself."""

LONGEST_NAME = 200
NO_RETRY = RetryPolicy()


@dataclass(repr=False)
class Task:
    """One unit of work: a function and its policies, and after an execution what became of it.

    `fn` may be a coroutine function or return an awaitable. It gets the results of its dependencies by parameter name.
    `retries` counts attempts after the first; `timeout` is an attempt's, in seconds. `version` says that the function
    means something else now, so that a resumed run does it again. `isolation="process"` runs an importable function in
    a process of its own, which is killed at a timeout. `depends_on` is for `Workflow.add_task`.

    `status`, `result`, `error`, `started_at` and `completed_at` show the newest execution, also while it goes on. They
    can be set, which counts when a new run begins: a task that says COMPLETED is not run. Times are local, without a
    zone. A result is a copy as JSON carries it, made anew each time. Raises `ArgumentError`.
    """

    name: str
    fn: Callable[..., Any]
    retries: int = 0
    timeout: float | None = None
    status: TaskStatus = TaskStatus.PENDING
    result: Any = None
    error: str | None = None
    on_status_change: StatusCallback | None = None
    on_retry: RetryCallback | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    _: KW_ONLY
    depends_on: Iterable[str | Task | Callable[..., Any]] = ()
    retry: RetryPolicy = NO_RETRY
    version: str = ""
    trigger_rule: TriggerRule | str = TriggerRule.ALL_COMPLETED
    allow_failure: bool = False
    on_crash: OnCrash | str = OnCrash.RERUN
    isolation: Isolation | str = Isolation.THREAD
    #: what a manifest says of it; None: it is a function
    plan: TaskPlan | None = field(default=None, compare=False)

    # Of the newest execution; None: there was none. What was set since then holds in any case.
    _board: ClassVar[Board | None] = None
    _position: ClassVar[int] = 0

    def __post_init__(self) -> None:
        """Check what was given. A subclass that is a dataclass too gets here as well."""
        name = checked_name(self.name)
        self.retries = _checked_retries(name, self.retries)
        self.timeout = _checked_timeout(name, self.timeout)
        if not callable(self.fn):
            raise ArgumentError(f"task '{name}': fn is {self.fn!r:.80}: use a function, and do not call it yourself")
        self.depends_on = checked_dependencies(name, self.depends_on)
        if self.on_status_change is not None:
            checked_callback(self.on_status_change, f"task '{name}': on_status_change")
        if self.on_retry is not None:
            checked_callback(self.on_retry, f"task '{name}': on_retry")
        if not isinstance(self.retry, RetryPolicy):
            what = f"task '{name}': retry is {self.retry!r:.80}"
            raise ArgumentError(f"{what}: use RetryPolicy(…), and retries=… for a number of them")
        self.version = str(self.version)
        if type(self.trigger_rule) is not TriggerRule:
            self.trigger_rule = choice(TriggerRule, self.trigger_rule, f"task '{name}': trigger_rule")
        if type(self.on_crash) is not OnCrash:
            self.on_crash = choice(OnCrash, self.on_crash, f"task '{name}': on_crash")
        if type(self.isolation) is not Isolation:
            self.isolation = choice(Isolation, self.isolation, f"task '{name}': isolation")

    @property
    def attempts(self) -> int:
        """How many attempts have been started, over all processes that worked on the run."""
        board = self._board
        return 0 if board is None else board.tasks[self._position].attempts

    def reset(self) -> None:
        """Forget what became of it."""
        self.__dict__.pop("_board", None)
        self.status, self.result, self.error = TaskStatus.PENDING, None, None
        self.started_at = self.completed_at = None

    def attach(self, board: Board, position: int) -> None:
        """Show what `board` says of the task at `position` from now on. For executors."""
        own = self.__dict__
        own["_position"], own["_board"] = position, board
        for name in _SHOWN:  # what was set before
            own.pop(name, None)

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
        return (
            f"{type(self).__name__}(name={self.name!r}, status={self.status}, retries={self.retries}, "
            f"timeout={self.timeout}, result={self.result!r}, error={self.error!r})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """A copy and a pickle keep what became of it, and do not follow its run."""
        kept = {name: value for name, value in self.__dict__.items() if name not in {"_board", "_position"}}
        return {**kept, **{name: getattr(self, name) for name in _SHOWN}}


class _Shown:
    """A field of `Task` that shows the newest execution, until somebody sets it: Python looks at what an object has of
    its own before it asks such a descriptor.
    """

    def __init__(self, look: Callable[[Board, int], Any]) -> None:
        self._look = look

    def __get__(self, task: Task | None, _: type[Task] | None = None) -> Any:
        if task is None:
            return self
        board = task._board  # noqa: SLF001 - a part of the class
        return None if board is None else self._look(board, task._position)  # noqa: SLF001 - as above


_SHOWN = {
    "status": Board.status,
    "result": Board.result,
    "error": Board.error,
    "started_at": Board.started_at,
    "completed_at": Board.completed_at,
}
"""What a task shows of its newest execution, and who knows it."""

# The fields have their defaults by now.
for _name, _look in _SHOWN.items():
    setattr(Task, _name, _Shown(_look))


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
    **settings: Unpack[TaskSettings],
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
        try:
            setattr(fn, MARK, {"name": own, **told, **settings, "signature": _signature(fn)})
        except (AttributeError, TypeError):
            raise ArgumentError(f"@task can not mark {fn!r:.80}: write Task({own!r}, …) with it") from None
        return fn

    if name is not None and not isinstance(name, str) and not callable(name):
        raise ArgumentError(f"@task of {name!r:.80}: give it a function, or a name as text")

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


def checked_dependencies(name: str, wanted: object) -> list[Any]:
    """`depends_on` of the task `name` as a list; raises `ArgumentError` for one thing in place of several."""
    if type(wanted) is list or type(wanted) is tuple:  # most are, and it is asked twice for each task
        return list(wanted)
    if isinstance(wanted, str):
        raise ArgumentError(f"task '{name}': depends_on is the text {wanted!r}: use a list, [{wanted!r}]")
    if not isinstance(wanted, Iterable):
        raise ArgumentError(f"task '{name}': depends_on is {wanted!r:.80}: use a list, [{wanted!r:.80}]")
    return list(wanted)


def checked_callback(callback: object, field: str) -> None:
    """Raises `ArgumentError` for a callback that nobody would be called by."""
    if not callable(callback):
        raise ArgumentError(f"{field} is {callback!r:.80}: use a function")
    if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(getattr(callback, "__call__", None)):  # noqa: B004 - as above
        raise ArgumentError(
            f"{field} is the coroutine function {callback!r:.80}, which nobody would await: use a plain function, and "
            "asyncio.run_coroutine_threadsafe in it for what a loop should do"
        )


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
