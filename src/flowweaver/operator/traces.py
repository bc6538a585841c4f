"""Switches tracing on where the settings ask for it. Else nothing of OpenTelemetry is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

from flowweaver.core.changes import Changes
from flowweaver.core.state import RunState
from flowweaver.errors import UserError
from flowweaver.operator.settings import Settings
from flowweaver.ports import Meter, Store
from flowweaver.stores import SQLiteStore
from flowweaver.telemetry.metrics import Metrics, own_version
from flowweaver.telemetry.tracing import Tracer


class Tracing:
    """The spans of a store's runs. Nothing is sent before `start`."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics | None = None) -> None:
        """`metrics` count what is sent.

        Raises `UserError` where spans are to be sent and OpenTelemetry is not installed.
        """
        self._endpoint = "" if _is_switched_off(os.environ) else settings.tracing_endpoint
        if not self._endpoint:
            return
        try:
            from flowweaver.telemetry.span_sending import SpanSender
        except ImportError as error:
            raise UserError(
                f"--tracing-endpoint needs libraries that are not installed ({error.name}): "
                "pip install 'flowweaver-operator[tracing]'"
            ) from error
        about = {"service.name": "flowweaver", "service.version": own_version()}
        if settings.own_name:
            about |= {"service.instance.id": settings.own_name, "k8s.pod.name": settings.own_name}
        if settings.own_namespace:
            about["k8s.namespace.name"] = settings.own_namespace
        running = store.read_running() if isinstance(store, SQLiteStore) else {}
        self._sender = SpanSender(self._endpoint, about=about, counted=metrics.spans if metrics else None)
        self._tracer = Tracer(self._sender.put, store=store.position().id, running=running)

    def beside(self, meter: Meter) -> Meter:
        """That meter, and after it what makes spans."""
        if not self._endpoint:
            return meter
        tracer = self._tracer

        def both(changes: Changes, runs: Mapping[int, RunState], seconds: float) -> None:
            meter(changes, runs, seconds)
            tracer(changes, runs, seconds)

        return both

    def start(self) -> None:
        """Begin to send."""
        if self._endpoint:
            self._sender.start()

    def stop(self) -> None:
        """Send what waits, a few seconds at most."""
        if self._endpoint:
            self._sender.stop()


def _is_switched_off(environment: Mapping[str, str]) -> bool:
    return (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
