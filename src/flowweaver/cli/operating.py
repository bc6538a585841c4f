"""`flowweaver operator`: the settings of the operator as options; what they mean is said in `flowweaver.operator`."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from flowweaver.errors import UserError

LIBRARIES = ("kopf", "kubernetes", "aiohttp", "prometheus_client")


def _setting(flag: str, variable: str, help_text: str, metavar: str | None = None) -> Any:
    return typer.Option(flag, metavar=metavar, help=f"{help_text} (FLOWWEAVER_{variable})", show_default=False)


def operator(  # noqa: PLR0913 - one parameter a setting
    *,
    state: Annotated[
        Path | None, _setting("--state", "STATE", "The store. Default: /var/lib/flowweaver/state.db.")
    ] = None,
    namespace: Annotated[
        list[str] | None, _setting("--namespace", "NAMESPACE", "What it watches; again for more. Default: all.", "NS")
    ] = None,
    instance: Annotated[
        str | None,
        _setting(
            "--instance",
            "INSTANCE",
            "Acts only on Workflows whose label flowweaver.io/instance is this. Default: default.",
            "NAME",
        ),
    ] = None,
    workers: Annotated[int | None, _setting("--workers", "WORKERS", "Attempts at once. Default: 16.", "N")] = None,
    http: Annotated[
        str | None,
        _setting("--http", "HTTP", "/healthz, /readyz and /metrics. Default: :8080.", "HOST:PORT"),
    ] = None,
    functions: Annotated[
        list[str] | None,
        _setting(
            "--functions", "FUNCTIONS", "Modules that python.function may name; again for more. Default: none.", "GLOB"
        ),
    ] = None,
    unsafe_bodies: Annotated[
        str | None,
        _setting("--unsafe-bodies", "UNSAFE_BODIES", "Of shell, python.source, thread. Default: none.", "LIST"),
    ] = None,
    http_allow: Annotated[
        list[str] | None,
        _setting(
            "--http-allow",
            "HTTP_ALLOW",
            "Reachable by http beside public addresses; {namespace} stands for the workflow's; again for more.",
            "CIDR|HOST",
        ),
    ] = None,
    adopt: Annotated[
        bool | None,
        _setting("--adopt/--no-adopt", "ADOPT", "Take over Workflows whose state another volume held. Default: off."),
    ] = None,
    grace_seconds: Annotated[
        float | None,
        _setting(
            "--grace-seconds", "GRACE_SECONDS", "How long attempts may take to end at SIGTERM. Default: 30.", "SECONDS"
        ),
    ] = None,
    backup_folder: Annotated[
        Path | None,
        _setting("--backup-folder", "BACKUP_FOLDER", "Back the store up into this folder. Default: not.", "FOLDER"),
    ] = None,
    backup_every: Annotated[
        str | None, _setting("--backup-every", "BACKUP_EVERY", "So often. Default: 6h.", "DURATION")
    ] = None,
    backup_keep: Annotated[
        int | None, _setting("--backup-keep", "BACKUP_KEEP", "So many backups stay. Default: 5.", "N")
    ] = None,
    log_format: Annotated[
        str | None, _setting("--log-format", "LOG_FORMAT", "text or json. Default: text.", "FORMAT")
    ] = None,
    log_level: Annotated[
        str | None, _setting("--log-level", "LOG_LEVEL", "debug, info, warning or error. Default: info.", "LEVEL")
    ] = None,
    log_levels: Annotated[
        str | None,
        _setting("--log-levels", "LOG_LEVELS", "Of single modules: flowweaver.stores=debug,… Default: none.", "LIST"),
    ] = None,
    tracing_endpoint: Annotated[
        str | None,
        typer.Option(
            "--tracing-endpoint",
            metavar="URL",
            help="Where spans go, by OTLP over HTTP. Default: nowhere. (OTEL_EXPORTER_OTLP_ENDPOINT)",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve a cluster: run its Workflows in this process. An option wins over the environment."""
    given = {
        "state": state,
        "namespaces": tuple(namespace) if namespace else None,
        "instance": instance,
        "workers": workers,
        "http": http,
        "functions": tuple(functions) if functions else None,
        "unsafe_bodies": unsafe_bodies,
        "http_allow": tuple(http_allow) if http_allow else None,
        "adopt": adopt,
        "grace_seconds": grace_seconds,
        "backup_folder": backup_folder,
        "backup_every": backup_every,
        "backup_keep": backup_keep,
        "log_format": log_format,
        "log_level": log_level,
        "log_levels": log_levels,
        "tracing_endpoint": tracing_endpoint,
    }
    check_libraries()
    raise typer.Exit(_serve({name: value for name, value in given.items() if value is not None}))


def _serve(given: dict[str, Any]) -> int:
    from flowweaver.manifest import durations
    from flowweaver.operator import serve
    from flowweaver.operator.settings import Settings
    from flowweaver.operator.settings import unsafe_bodies as read_unsafe_bodies
    from flowweaver.telemetry.logs import read_levels

    readers = {"unsafe_bodies": read_unsafe_bodies, "log_levels": read_levels, "backup_every": durations.seconds}
    for name, read in readers.items():
        try:
            if name in given:
                given[name] = read(given[name])
        except ValueError as error:
            raise UserError(f"--{name.replace('_', '-')}: {error}") from error
    return serve(replace(Settings.from_environment(os.environ), **given))


def check_libraries() -> None:
    """Raises `UserError` where the libraries that only the operator needs are not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"the operator needs libraries that are not installed ({', '.join(missing)}): "
            "pip install 'flowweaver-operator[operator]'"
        )
