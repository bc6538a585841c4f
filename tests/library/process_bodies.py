"""Functions that run in processes of their own. What they need comes from a task "folder"."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flowweaver import current_task, task
from flowweaver.runners.proc import read_stat


class OnlyHere(ConnectionError):
    """An error that the program itself never imports."""


def note(folder: str, word: object) -> None:
    """Add a line to the log in that folder."""
    with (Path(folder) / "log").open("a") as log:
        log.write(f"{word}\n")


def raises_key_error(folder: str) -> None:
    note(folder, "began")
    raise KeyError("secret-of-the-body")


def raises_one_of_its_own(folder: str) -> None:
    note(folder, "began")
    raise OnlyHere("not now")


def exits(folder: str) -> None:
    note(folder, "began")
    raise SystemExit(3)


def gone(folder: str) -> None:
    note(folder, "began")
    os._exit(7)


def killed(folder: str) -> None:
    note(folder, "began")
    os.kill(os.getpid(), signal.SIGKILL)


def environment() -> dict[str, str]:
    return {name: ascii(text) for name, text in os.environ.items()}


def environment_of_a_program() -> dict[str, str]:
    text = subprocess.run(["/usr/bin/env", "-0"], check=True, capture_output=True).stdout.decode()
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


def big() -> str:
    return "x" * (5 << 20)


def length(big: str) -> int:
    return len(big)


def keywords(a_b: int, /, c: int, *, d: int = 4, **others: Any) -> list[Any]:
    return [a_b, c, d, others]


def echo(given: Any) -> Any:
    return given


async def about_itself(folder: str) -> list[Any]:
    await asyncio.sleep(0)
    now = current_task()
    note(folder, now.attempt)
    if now.attempt == 1:
        raise OSError
    return [now.name, now.attempt, now.idempotency_key, now.cancelled, os.getpid()]


def prints(folder: str) -> str:
    print("said aloud", flush=True)  # noqa: T201 - that is what it is for
    print("and to the side", file=sys.stderr)  # noqa: T201 - as above
    os.write(1, b"past Python\n")
    return folder


def own_number(folder: str) -> int:
    note(folder, os.getpid())
    return os.getpid()


def sleeps(folder: str) -> None:
    """Starts a program that is deaf to SIGTERM, in a group of its own, and says both numbers."""
    command = ["sh", "-c", f"trap '' TERM; echo $$ > {folder}/program; exec sleep 600"]
    subprocess.Popen(command, process_group=0)
    while not (Path(folder) / "program").exists() or not (Path(folder) / "program").read_text():
        time.sleep(0.005)
    (Path(folder) / "child").write_text(f"{os.getpid()}\n")
    time.sleep(600)


def deaf_at_first(folder: str) -> bool:
    """Its first attempt does not hear that it is to end; the second gives whether that is alive still."""
    child = Path(folder) / "child"
    if child.exists():
        return _is_alive(int(child.read_text()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child.write_text(f"{os.getpid()}\n")
    time.sleep(600)
    return True


def deaf_survivor(folder: str) -> bool:
    """Notes each life; gives whether something of an earlier life is alive still."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log = Path(folder) / "lives"
    lives = [int(line) for line in log.read_text().split()] if log.exists() else []
    with log.open("a") as out:
        out.write(f"{os.getpid()}\n")
    if not lives:
        subprocess.Popen(["sh", "-c", f"trap '' TERM HUP; echo $$ > {folder}/program; exec sleep 600"])
        time.sleep(600)
    return any(_is_alive(pid) for pid in [*lives, int((Path(folder) / "program").read_text())])


def _is_alive(pid: int) -> bool:
    try:
        return read_stat(pid).state not in "ZX"
    except ProcessLookupError:
        return False


@task(name="decorated")
def decorated() -> str:
    return "decorated"


def _kept(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ["wrapped", function(*args, **kwargs)]

    return wrapper


def _hidden(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@_kept
def wrapped() -> int:
    return 1


@_hidden
def hidden() -> int:
    return 1


def _replaced() -> int:
    return 1


replaced, _replaced = _replaced, None  # type: ignore[assignment]  # it can not be found by its own name


class Methods:
    def method(self) -> int:
        return 1

    def __call__(self) -> int:
        return 1


partial = functools.partial(length, "abc")
nameless = lambda: 1  # noqa: E731 - that is what is refused
