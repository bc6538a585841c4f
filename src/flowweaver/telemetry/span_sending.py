"""Sends spans to a collector, by OTLP over HTTP, from a thread of its own. Whoever makes spans never waits for it.

What a collector that hangs or is gone does not take is dropped and counted. This is the only module that imports
OpenTelemetry, and it is imported only where an endpoint is set.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from flowweaver.telemetry.tracing import Span

MOST_WAITING = 10_000
"""Spans that wait to be sent; further ones are dropped."""

AT_ONCE = 500
EVERY_SECONDS = 0.5
"""So long may spans wait for each other; those of the last half second are lost where the process is killed."""

LAST_SECONDS = 3.0
"""How long the end may take to send what waits."""

_SCOPE = InstrumentationScope("flowweaver")
logger = logging.getLogger(__name__)


class SpanSender:
    """A bounded queue and the thread that empties it. `put` is safe from any thread and returns at once."""

    def __init__(
        self,
        endpoint: str,
        *,
        about: Mapping[str, str],
        exporter: SpanExporter | None = None,
        counted: Callable[[str, int], None] | None = None,
    ) -> None:
        """`endpoint` is the collector's, without a path of its own: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT wins over it.

        `about` is what is said of this process; OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME win over it.
        `counted` is told of how many were "sent" or "dropped", on any thread.
        """
        address = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{endpoint.rstrip('/')}/v1/traces"
        parts = urlsplit(address)
        self._where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)  # without a password
        self._exporter = exporter or OTLPSpanExporter(endpoint=address)
        self._resource = Resource(dict(about)).merge(OTELResourceDetector().detect())
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler  # as OTEL_TRACES_SAMPLER says
        self._waiting: deque[Span] = deque()
        self._stopping = threading.Event()
        self._stopped = False
        self._failing = False
        self._counted = counted
        self._thread = threading.Thread(target=self._run, name="flowweaver-spans", daemon=True)
        self.sent = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def put(self, span: Span) -> None:
        """Have it sent, unless too many wait."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(span)
        else:
            self._count("dropped", 1)

    def stop(self, timeout_seconds: float = LAST_SECONDS) -> None:
        """Send what waits, at most so long. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        if not self._stopped:
            self._stopped = True
            self._exporter.shutdown()  # ends what the thread may still be waiting for

    def _run(self) -> None:
        while True:
            stopping = self._stopping.wait(EVERY_SECONDS)
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                if not self._send([found for span in batch if (found := self._translated(span)) is not None]):
                    break
            if stopping or self._stopped:
                break

    def _send(self, spans: list[ReadableSpan]) -> bool:
        """Gives whether the collector took them."""
        if not spans:
            return True
        try:
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end this thread
            logger.debug("spans could not be sent: %s", type(error).__name__)
            taken = False
        self._count("sent" if taken else "dropped", len(spans))
        if taken is self._failing and not self._stopping.is_set():
            self._failing = not taken
            if taken:
                logger.info("the collector at %s takes spans again; %d were lost", self._where, self.dropped)
            else:
                logger.warning("the collector at %s does not take spans; they are lost until it does", self._where)
        return taken

    def _count(self, result: str, number: int) -> None:
        if result == "sent":
            self.sent += number
        else:
            self.dropped += number
        if self._counted is not None:
            self._counted(result, number)

    def _translated(self, span: Span) -> ReadableSpan | None:
        """As the exporter wants it; None where it is not to be sampled."""
        sampled = span.sampled
        if sampled is None:
            sampled = self._sampler.should_sample(None, span.trace, span.name).decision is Decision.RECORD_AND_SAMPLE
        if not sampled:
            return None
        flags = TraceFlags(TraceFlags.SAMPLED)
        parent = (
            None if span.parent is None else SpanContext(span.trace, span.parent, is_remote=False, trace_flags=flags)
        )
        return ReadableSpan(
            name=span.name,
            context=SpanContext(span.trace, span.number, is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            status=Status(StatusCode.UNSET) if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=round(span.started_at * 1e9),
            end_time=round(span.ended_at * 1e9),
            instrumentation_scope=_SCOPE,
        )
