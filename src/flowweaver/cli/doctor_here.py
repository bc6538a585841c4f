"""What this process can tell by itself: versions, settings, and the state file."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from flowweaver.cli.doctor_parts import Part
from flowweaver.cli.doctor_redaction import LEFT_OUT
from flowweaver.cli.progress import duration, plain
from flowweaver.core.phases import TaskPhase

if TYPE_CHECKING:
    from flowweaver.stores.looking import Look

LIBRARIES = ("apsw", "cel-expr-python", "httpx", "pydantic", "PyYAML", "typer", "rich", "kopf", "kubernetes", "aiohttp")
NEWEST_RUNS = 200
"""Of a state file, so many are read whole."""

MOST_FAILED, MOST_SLOW = 10, 10
LITTLE_ROOM = 0.1  # of a disk
TELLING = (
    "FLOWWEAVER_",
    "OTEL_",
    "KUBECONFIG",
    "PYTHON",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT",
    "TZ",
    "LANG",
)
"""Variables of which it is of use to know whether they are set."""


def versions(part: Part) -> None:
    """Of everything that a bug may depend on."""
    import apsw

    system = platform.uname()
    part.table(
        [
            ("flowweaver", _version("flowweaver-operator")),
            ("python", f"{platform.python_version()} ({platform.python_implementation()}, {sys.executable})"),
            ("sqlite", apsw.sqlite_lib_version()),
            *((name, _version(name)) for name in LIBRARIES),
            ("system", f"{system.system} {system.release} {system.machine}"),
            ("distribution", _distribution()),
            ("libc", " ".join(platform.libc_ver())),
            (
                "cpus",
                f"{os.cpu_count()}, usable {len(os.sched_getaffinity(0))}"
                if hasattr(os, "sched_getaffinity")
                else os.cpu_count(),
            ),
            ("in a pod", "yes" if in_a_pod() else "no"),
            ("now", datetime.now(UTC).isoformat(timespec="seconds")),
        ]
    )


def settings(part: Part, environment: Mapping[str, str]) -> None:
    """What the environment says; of other variables that they are set, and not to what."""
    for name in sorted(environment):
        if name in known_variables():
            part.say(f"{name}={environment[name]}")
        elif name.upper().startswith(TELLING):
            part.say(f"{name}={LEFT_OUT}")
    if not part.lines:
        part.say("no variable of FlowWeaver's is set here")


def known_variables() -> frozenset[str]:
    """Variables whose values are no secrets: the operator's own settings."""
    from flowweaver.operator.settings import VARIABLES

    return frozenset(VARIABLES)


def state(part: Part, path: Path | None, *, messages: bool) -> None:
    """The file, whether it holds together, its runs, and what failed; results and parameters stay where they are, and
    what failed tasks said too unless `messages`.
    """
    if path is None:
        part.missing("no state file is named; --state FILE names one")
        return
    if not path.exists():
        part.missing(f"{path} is not there; --state FILE names another one")
        return
    from flowweaver.errors import StoreError
    from flowweaver.stores.checks import check
    from flowweaver.stores.looking import looking_at

    _sizes(part, path)
    try:
        found = check(path)
        position = found.position
        part.table(
            [
                ("kind", f"{found.kind}, layout {found.layout}"),
                ("store", f"{position.id}, epoch {position.epoch}, commit {position.sequence}"),
                ("integrity", "it holds together" if not found.problems else f"{len(found.problems)} problems"),
            ]
        )
        for problem in found.problems:
            part.wrong(problem)
        with looking_at(path) as look:
            _runs(part, look, messages=messages)
    except StoreError as error:
        part.wrong(str(error))


def _sizes(part: Part, path: Path) -> None:
    usage = shutil.disk_usage(path.resolve().parent)
    mode = path.stat()
    part.table(
        [
            ("file", f"{path}, {_bytes(mode.st_size)}, mode {mode.st_mode & 0o7777:o}, owner {mode.st_uid}"),
            *(
                (f"  {other.name}", _bytes(other.stat().st_size))
                for other in sorted(path.parent.glob(f"{path.name}?*"))
            ),
            ("disk", f"{_bytes(usage.free)} of {_bytes(usage.total)} are free"),
        ]
    )
    if usage.free < LITTLE_ROOM * usage.total:
        part.wrong(f"the disk is nearly full: {_bytes(usage.free)} are left")


def _runs(part: Part, look: Look, *, messages: bool) -> None:
    heads = list(look.list_runs())
    phases: dict[str, int] = {}
    for _, _, head in heads:
        phases[head.phase] = phases.get(head.phase, 0) + 1
    part.say(f"runs: {', '.join(f'{number} {phase}' for phase, number in sorted(phases.items())) or 'none'}")
    failed = islice((entry for entry in reversed(heads) if entry[2].phase == "failed"), MOST_FAILED)
    for key, name, head in failed:
        part.say(f"failed: {name.workflow} ({name.run_id}, {name.generation}) at {_moment(head.finished_at)}")
        stored = look.read_run(key)
        for task, found in zip(stored.plan.tasks, stored.tasks, strict=True):
            if found.phase is TaskPhase.FAILED:
                said = plain(found.message) if messages or not found.message else LEFT_OUT
                words = ": ".join(word for word in (found.reason, found.error_type, said) if word)
                part.say(f"  {task.name} ({task.kind}), {found.attempts} attempts: {words}")
    took: list[tuple[float, str]] = []
    for key, name, _ in heads[-NEWEST_RUNS:]:
        stored = look.read_run(key)
        took += [
            (
                found.finished_at - found.started_at,
                f"{name.workflow}: {task.name} ({task.kind}), {found.attempts} attempts",
            )
            for task, found in zip(stored.plan.tasks, stored.tasks, strict=True)
            if found.started_at is not None and found.finished_at is not None and not task.internal
        ]
    if not took:
        return
    part.say(f"slowest tasks of the newest {min(len(heads), NEWEST_RUNS)} runs:")
    for seconds, what in sorted(took, reverse=True)[:MOST_SLOW]:
        part.say(f"  {duration(0.0, seconds).rjust(10)}  {what}")


def in_a_pod() -> bool:
    """Whether Kubernetes has started this process."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _moment(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _bytes(number: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"
