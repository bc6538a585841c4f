"""What the administrator decides, as one frozen value.

The command line fills it from flags, the chart from values through the environment. Nothing here reads a file or knows
Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowweaver.errors import UserError
from flowweaver.manifest import durations
from flowweaver.policy import Policy, UnsafeBody
from flowweaver.telemetry.logs import LEVELS, read_levels

PREFIX = "FLOWWEAVER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator's settings; every field has the default of the command line."""

    state: Path = Path("/var/lib/flowweaver/state.db")  # the store
    namespaces: tuple[str, ...] = ()  # what it watches; empty: all
    instance: str = "default"  # acts only on Workflows whose label `flowweaver.io/instance` is this
    workers: int = 16  # attempts at once
    http: str = ":8080"  # HOST:PORT of /healthz, /readyz and /metrics; port 0 takes a free one
    functions: tuple[str, ...] = ()  # globs over modules that `python.function` may name
    unsafe_bodies: frozenset[UnsafeBody] = frozenset()
    http_allow: tuple[str, ...] = ()  # CIDRs and hosts that `http` reaches beside public addresses
    adopt: bool = False  # take over Workflows whose state another volume held
    grace_seconds: float = 30.0  # how long running attempts may take to end at SIGTERM
    backup_folder: Path | None = None  # where the store is backed up to; None: it is not
    backup_every: float = 6 * 3600.0  # seconds from one backup to the next
    backup_keep: int = 5  # so many backups stay
    log_format: str = "text"  # or "json"
    log_level: str = "info"
    log_levels: tuple[tuple[str, str], ...] = ()  # of single modules: ("flowweaver.stores", "debug")
    tracing_endpoint: str = ""  # of an OpenTelemetry collector, OTLP over HTTP; empty: nothing is traced
    own_namespace: str = ""  # where the Lease lives; empty: the service account's namespace, else "default"
    own_name: str = ""  # who holds the Lease; empty: the host's name

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"--workers is {self.workers}: it must be 1 or more")
        if self.log_format not in {"text", "json"}:
            raise UserError(f'--log-format is "{self.log_format}": it must be "text" or "json"')
        if self.log_level.lower() not in LEVELS:
            raise UserError(f'--log-level is "{self.log_level}": it must be one of {", ".join(LEVELS)}')
        if self.tracing_endpoint and not re.match(r"https?://[^/]", self.tracing_endpoint):
            # Not shown as it is: a password may stand in it.
            raise UserError("--tracing-endpoint is no http:// or https:// address: write http://collector:4318, say")
        if self.grace_seconds < 0:
            raise UserError(f"--grace-seconds is {self.grace_seconds}: it must not be negative")
        if self.backup_every < 1:
            raise UserError(f"--backup-every is {self.backup_every:g} s: it must be 1s or more")
        if self.backup_keep < 1:
            raise UserError(f"--backup-keep is {self.backup_keep}: it must be 1 or more")
        self.http_address()

    def http_address(self) -> tuple[str, int]:
        """Host (empty: every address) and port of `http`; raises `UserError`."""
        host, separator, port = self.http.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65535:
            raise UserError(f'--http is "{self.http}": write HOST:PORT, for example :8080 or 127.0.0.1:8080')
        return host.strip("[]"), int(port)

    def policy(self) -> Policy:
        """What may run here."""
        return Policy(functions=self.functions, unsafe_bodies=self.unsafe_bodies, http_allow=self.http_allow)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Settings from `FLOWWEAVER_…` variables, defaults for the rest; raises `UserError` naming the variable.

        Lists are separated by commas. `POD_NAMESPACE` and `POD_NAME` say who this is.
        """
        found: dict[str, Any] = {}
        for variable, (field, read) in VARIABLES.items():
            text = environment.get(variable, "")
            if not text:
                continue
            try:
                found[field] = read(text)
            except ValueError as error:
                raise UserError(f'{variable} is "{text}": {error}') from error
        return cls(**found)


def unsafe_bodies(text: str) -> frozenset[UnsafeBody]:
    """The bodies of a list such as `shell,python.source`; raises `ValueError` that names the known ones."""
    known = ", ".join(UnsafeBody)
    for word in _words(text):
        if word not in set(UnsafeBody):
            raise ValueError(f'"{word}" is no unsafe body; there are {known}')
    return frozenset(map(UnsafeBody, _words(text)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _flag(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ValueError("write true or false") from None


VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    f"{PREFIX}STATE": ("state", Path),
    f"{PREFIX}NAMESPACE": ("namespaces", _words),
    f"{PREFIX}INSTANCE": ("instance", str),
    f"{PREFIX}WORKERS": ("workers", int),
    f"{PREFIX}HTTP": ("http", str),
    f"{PREFIX}FUNCTIONS": ("functions", _words),
    f"{PREFIX}UNSAFE_BODIES": ("unsafe_bodies", unsafe_bodies),
    f"{PREFIX}HTTP_ALLOW": ("http_allow", _words),
    f"{PREFIX}ADOPT": ("adopt", _flag),
    f"{PREFIX}GRACE_SECONDS": ("grace_seconds", float),
    f"{PREFIX}BACKUP_FOLDER": ("backup_folder", Path),
    f"{PREFIX}BACKUP_EVERY": ("backup_every", durations.seconds),
    f"{PREFIX}BACKUP_KEEP": ("backup_keep", int),
    f"{PREFIX}LOG_FORMAT": ("log_format", str),
    f"{PREFIX}LOG_LEVEL": ("log_level", str),
    f"{PREFIX}LOG_LEVELS": ("log_levels", read_levels),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("tracing_endpoint", str),
    "POD_NAMESPACE": ("own_namespace", str),
    "POD_NAME": ("own_name", str),
}
"""Which environment variable fills which field, and how it is read."""
