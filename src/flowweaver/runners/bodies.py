"""What a process of a task does: it takes its work from its socket, does it, answers, and ends.

Runs in children of the launcher, which has imported this already; so nothing heavy here, and nothing of the engine.
A user's code runs in this process: whatever comes from here is checked by who reads it.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - imported before the fork, so that coroutines need not wait for it
import contextlib
import json
import logging
import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any, NoReturn

from flowweaver.core.events import Failed
from flowweaver.policy import Policy
from flowweaver.ports import Cancellation
from flowweaver.runners.current import CurrentTask, running
from flowweaver.runners.failures import Refused, class_name, failure_of
from flowweaver.runners.functions import Call, call
from flowweaver.runners.proc import directory, read_stat
from flowweaver.runners.results import MAX_RESULT_BYTES

STARTED = struct.Struct("!IQ")  # process number, start time
LENGTH = struct.Struct("!Q")
COMPLETED, FAILED = b"C", b"F"
MAX_TRACEBACK = 16_384


# -------------------------------------------------------------------------------------------------------- the letters


def pack(header: dict[str, Any], blobs: list[bytes]) -> bytes:
    """Work for a child: JSON, then bytes as they are (results of other tasks, which nobody may want)."""
    head = json.dumps({**header, "blobs": [len(blob) for blob in blobs]}).encode()
    return b"".join([LENGTH.pack(len(head)), head, *blobs])


def unpack(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """What `pack` made, read from a socket; raises `EOFError` where it ends early."""
    header: dict[str, Any] = json.loads(_read(sock, LENGTH.unpack(_read(sock, LENGTH.size))[0]))
    return header, [_read(sock, length) for length in header["blobs"]]


def _read(sock: socket.socket, length: int) -> bytes:
    received = bytearray(length)
    view = memoryview(received)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(received)


# ------------------------------------------------------------------------------------------------------------- python


def run_python(sock: socket.socket) -> None:
    """Call the function that the engine asks for and send its outcome."""
    header, blobs = unpack(sock)
    sys.path[:] = header["path"]
    if header["environment"] is not None:
        os.environ.clear()
        os.environ.update(header["environment"])
    with contextlib.suppress(OSError):  # it may have been removed
        os.chdir(header["directory"])
    os.dup2(2, 1)  # what a body prints must not stand between what the command prints
    process = os.getpid()
    try:
        answer = _outcome(header, blobs)
    finally:
        if os.getpid() != process:  # a fork that the body made has run out of it
            os._exit(0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    logging.shutdown()
    sock.sendall(LENGTH.pack(len(answer)) + answer)  # after all else: whoever reads it ends this process


def warm_up() -> None:
    """Do once what every body does, so that the memory which that touches is this process's own when work comes."""
    source = "def main(value, *, scale=1.5):\n    return {'value': [value, scale]}\n"
    for body in ({"function": "", "source": source}, {"function": "json:dumps", "source": ""}):
        header = {
            **body,
            "arguments": {} if body["source"] else {"obj": [None]},
            "results": ["value"] if body["source"] else [],
            "missing": {},
            "functions": ["json"],
            "environment": None,
            "limit": MAX_RESULT_BYTES,
            "retryOn": None,
            "task": "",
            "attempt": 0,
            "key": "",
            "path": sys.path,
            "directory": directory(),
        }
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.sendall(pack(header, [b"null"] if body["source"] else []))
            run_python(theirs)
    read_stat(os.getpid())


def _outcome(header: dict[str, Any], blobs: list[bytes]) -> bytes:
    wanted = Call(
        function=header["function"],
        source=header["source"],
        arguments=header["arguments"],
        results=dict(zip(header["results"], blobs, strict=True)),
        missing=header["missing"],
        policy=Policy(functions=tuple(header["functions"]), max_result_bytes=header["limit"]),
        unique="task",
        task="" if header["retryOn"] is None else header["task"],
    )
    cancellation = Cancellation()
    task = CurrentTask(
        name=header["task"],
        attempt=header["attempt"],
        idempotency_key=header["key"],
        cancellation=cancellation,
    )
    try:
        with running(task):
            return COMPLETED + call(wanted, cancellation)
    except BaseException as exc:  # noqa: BLE001 - whatever it is, it is this attempt's failure
        return FAILED + _failure(exc, header["retryOn"])


def _failure(exc: BaseException, retry_on: list[str] | None) -> bytes:
    failure = failure_of(exc)
    # Where it happened, and not what: the text may hold what is not for a log.
    trace = "" if isinstance(exc, Refused) else "".join(traceback.format_tb(exc.__traceback__))[-MAX_TRACEBACK:]
    return json.dumps(
        {
            "reason": failure.reason,
            "message": failure.message,
            "type": failure.error_type,
            "retryable": failure.retryable and (retry_on is None or _is_one_of(exc, retry_on)),
            "traceback": trace,
        }
    ).encode()


def _is_one_of(exc: BaseException, names: list[str]) -> bool:
    """Whether it is of a class with one of these names, or of one below it."""
    return any(class_name(each) in names for each in type(exc).__mro__)


def read_failure(answer: bytes) -> tuple[Failed, str]:
    """A failure that a child sent, and its traceback; raises `ValueError` or `KeyError` for what is none."""
    told = json.loads(answer)
    failure = Failed(
        reason=str(told["reason"]),
        message=str(told["message"]),
        error_type=str(told["type"]),
        retryable=bool(told["retryable"]),
    )
    return failure, str(told["traceback"])


# ------------------------------------------------------------------------------------------------------------ programs


def run_program(sock: socket.socket, stdout: int, stderr: int) -> NoReturn:
    """Become the program that the engine asks for; where that fails, send why and end with 127."""
    header, _ = unpack(sock)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and programs rely on them
        signal.signal(number, signal.SIG_DFL)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.chdir(header["directory"])
        command = [os.fsencode(word) for word in header["command"]]
        environment = {name: os.fsencode(text) for name, text in header["environment"].items()}
        os.execvpe(command[0], command, environment)  # noqa: S606 - that is the body
    except OSError as exc:
        sock.sendall(json.dumps({"errno": exc.errno}).encode())
    os._exit(127)
