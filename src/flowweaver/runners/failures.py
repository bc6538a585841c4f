"""How what went wrong in a body becomes a `Failed` that can be stored and read.

The one place that turns exceptions into text: bounded, without lone surrogates, and cut where everybody sees it. It
adds nothing to what the body said (no environment, no arguments, no traceback), so that no secret enters by our hand.
"""

from __future__ import annotations

import re
import sys
import threading

from flowweaver.core.events import Failed
from flowweaver.core.phases import Reason
from flowweaver.errors import UserError

MAX_MESSAGE = 4096  # characters of an error's text that are kept
MAX_TYPE = 200
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # and what else moves a cursor
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Refused(UserError):
    """An attempt ends here, with that reason: another one could only end the same way. The text says what to change."""

    def __init__(self, reason: Reason, message: str, *, error_type: str = "", retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.error_type = error_type or str(reason)
        self.retryable = retryable


def failure_of(exc: BaseException) -> Failed:
    """What a body raised, as its attempt's outcome."""
    if isinstance(exc, Refused):
        return failed(exc.reason, exc.error_type, str(exc), retryable=exc.retryable)
    return failed(Reason.TASK_FAILED, type(exc).__name__, _text_of(exc))


def class_name(kind: type[BaseException]) -> str:
    """How a class of errors is called from one process to another."""
    return f"{kind.__module__}.{kind.__qualname__}"


def is_interrupt(exc: BaseException) -> bool:
    """Whether it is Ctrl-C, which concerns the program: anywhere but on the main thread a body has raised it itself."""
    return isinstance(exc, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def failed(reason: str, error_type: str, message: str, *, retryable: bool = True) -> Failed:
    """A failure whose texts are bounded and storable."""
    return Failed(
        reason=reason,
        error_type=storable(error_type, MAX_TYPE),
        message=storable(message),
        retryable=retryable,
    )


def storable(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` as it can be stored and shown everywhere: visibly cut, and without lone surrogates and the characters that
    a terminal obeys. Lines and tabs stay.
    """
    if len(text) > limit:
        text = f"{text[:limit]}… ({len(text) - limit} more characters)"
    text = _CONTROL.sub("\ufffd", _COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text_of(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return f"the body ended the interpreter with sys.exit({exc.code!r:.100}): return or raise instead"
    if _is_cancelled(exc) and not exc.args:
        return "the body was cancelled"
    try:
        text = str(exc)
        if isinstance(exc, BaseExceptionGroup):
            text += "".join(f"; {type(each).__name__}: {each}" for each in exc.exceptions[:10])
    except Exception:  # noqa: BLE001 - the text is made by code of the user
        return "(the error's text can not be made: its __str__ raises)"
    return text


def _is_cancelled(exc: BaseException) -> bool:
    asyncio = sys.modules.get("asyncio")  # where nobody has loaded it, nobody can have raised what it defines
    return asyncio is not None and isinstance(exc, asyncio.CancelledError)
