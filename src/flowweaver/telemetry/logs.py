"""Log lines, as text or as JSON, written by a thread of their own: the engine must not wait for a full pipe.

A line is a constant sentence with its particulars in `extra` (`workflow`, `task`, `attempt`, `reason`, …). What users'
code says of itself (the text of an error, standard error) is not among them: a secret may stand in it.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import logging
import logging.handlers
import queue
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

FIELDS = ("workflow", "task", "attempt", "phase", "reason", "error", "seconds")
"""What a line may carry beside its sentence, in this order."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

MOST_WAITING = 10_000
"""Lines that wait to be written; more are dropped and counted rather than kept."""

logger = logging.getLogger(__name__)


LEVELS = ("debug", "info", "warning", "error")
OURS = "flowweaver"
RUNS = "flowweaver.runs"
"""Who tells of the steps of workflows and tasks: the one logger that is no module."""


def read_levels(text: str) -> tuple[tuple[str, str], ...]:
    """Loggers and their levels from `flowweaver.stores=debug,flowweaver.runs=warning`; raises `ValueError`.

    Only our own loggers have levels: lines of the libraries below may hold addresses, headers and whole objects.
    """
    found = {}
    for word in filter(None, (word.strip() for word in text.split(","))):
        name, separator, level = (part.strip() for part in word.partition("="))
        if not separator or level.lower() not in LEVELS:
            raise ValueError(
                f'"{word}" is no level of a module: write flowweaver.stores=debug, with {", ".join(LEVELS)}'
            )
        if name != OURS and not name.startswith(f"{OURS}."):
            raise ValueError(f'"{name}" is no module of FlowWeaver: name one, for example flowweaver.stores')
        found[name] = level.lower()
    return tuple(found.items())


def set_up(
    *, style: str, level: str, levels: Iterable[tuple[str, str]] = (), stream: TextIO | None = None
) -> logging.handlers.QueueListener:
    """Log to `stream` (standard error) in `style` "text" or "json". Replaces what was set up before.

    `levels` are those of single loggers, which hold for all that is below them; `level` is everybody else's. What is
    given writes the lines; it ends with the process, and can be stopped before.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    lines: queue.Queue[Any] = queue.Queue(MOST_WAITING)
    listener = logging.handlers.QueueListener(lines, handler)
    listener.start()
    atexit.register(listener.stop)
    root = logging.getLogger()
    root.handlers[:] = [_Dropping(lines)]
    root.setLevel(level.upper())
    # kopf's own trouble is told by whoever supervises it; each of its retries is a traceback.
    logging.getLogger("kopf").setLevel(logging.WARNING if level.lower() == "debug" else logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of every connection that the other side closed
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # These tell of addresses with their queries, and of headers: a token may stand in either.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    logging.getLogger("kubernetes").setLevel(logging.WARNING)  # of whole objects
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # whoever sends spans says once that it can not
    for name, of_its_own in levels:
        logging.getLogger(name).setLevel(of_its_own.upper())
        if not _is_there(name):
            logger.warning('there is no module "%s": its level has no effect', name)
    return listener


def _is_there(name: str) -> bool:
    try:
        return name == RUNS or importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def fields(record: logging.LogRecord) -> Mapping[str, Any]:
    """The particulars of a line."""
    return {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) not in (None, "")}


class TextLines(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO a task has completed workflow=shop/etl task=load`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it, and a traceback below it where there is one."""
        particulars = "".join(f" {name}={_shown(value)}" for name, value in fields(record).items())
        text = f"{_moment(record)} {record.levelname} {_one_line(record.getMessage())}{particulars}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message has in it."""
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            **fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


class _Dropping(logging.handlers.QueueHandler):
    """Loses lines rather than time, and says how many once there is room again."""

    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self.dropped:
                self.queue.put_nowait(_told(f"{self.dropped} lines of this log were dropped"))
                self.dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The formatter wants the record as it is; only its message is fixed now, since its arguments may change."""
        record.message = record.getMessage()
        record.msg, record.args = record.message, None
        return record


def _told(message: str) -> logging.LogRecord:
    record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, None, None)
    record.message = message
    return record


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: object) -> str:
    text = _one_line(str(value))
    return json.dumps(text, ensure_ascii=False) if any(char in text for char in ' "=\\') else text


def _one_line(text: str) -> str:
    """The text with what ends a line or steers a terminal written out: what users say must not forge a line."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], text)
