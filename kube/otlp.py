"""Spans to a collector, in OpenTelemetry's protocol over HTTP. The SDK is imported only here, and
only where an endpoint is set: it costs memory that most installations have no use for.

A collector that is away costs spans and nothing else: they wait in a bounded queue, a thread of the
SDK sends and repeats, and the log has one line when it begins to fail and one when that is over.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from kube import tracing
from kube.tracing import Span

logger = logging.getLogger(__name__)

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_RATIO = "OTEL_TRACES_SAMPLER_ARG"
_CLOSE_SECONDS = 3.0
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """Where to, how many, and with what to be let in."""

    endpoint: str
    """The collector's address; the path /v1/traces is ours to add."""
    ratio: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class SdkMissingError(ValueError):
    """An endpoint is set, and the image lacks what it takes."""


def options(environment: Mapping[str, str]) -> Options | None:
    """By OpenTelemetry's own names; None: off. ValueError, naming the variable, where one is
    wrong; a header's value is never repeated."""
    endpoint = environment.get(_ENDPOINT, "").strip().rstrip("/")
    if not endpoint:
        return None
    address = urlsplit(endpoint)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError(f"{_ENDPOINT} must be an http:// or https:// address, not {endpoint!r}")
    return Options(endpoint, _ratio(environment.get(_RATIO, "")), _headers(environment))


def _ratio(text: str) -> float:
    try:
        ratio = float(text or "1")
    except ValueError:
        ratio = math.nan
    if not 0 <= ratio <= 1:
        raise ValueError(f"{_RATIO} must be a number from 0 to 1, not {text!r}")
    return ratio


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for entry in environment.get(_HEADERS, "").split(","):
        if not entry.strip():
            continue
        name, equals, value = entry.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{_HEADERS} must list name=value, separated by commas")
        found[name.strip().lower()] = unquote(value.strip())
    return found


@contextmanager
def exporting(options: Options | None, *, service: str, instance: str) -> Iterator[None]:
    """Trace what is started within; nothing happens without options. SdkMissingError where the SDK
    is not installed."""
    if options is None:
        yield
        return
    sink = OtlpSink(options, service=service, instance=instance)
    tracing.export_to(sink, options.ratio)
    try:
        yield
    finally:
        sink.close()


class OtlpSink:
    """Hands spans to the SDK, ids and times as they are. `export` belongs to one thread."""

    def __init__(self, options: Options, *, service: str, instance: str) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON
        except ImportError as missing:
            raise SdkMissingError(
                f"{_ENDPOINT} is set, and {missing.name} is not installed: pip install"
                " 'kaito-py[tracing]'"
            ) from missing
        self._trace = trace
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not sampled never comes here
            resource=Resource.create({"service.name": service, "service.instance.id": instance}),
            id_generator=self._ids,  # type: ignore[arg-type]  # its methods are all that is asked
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(options)))
        self._tracer = self._provider.get_tracer("kaito")

    def export(self, spans: Sequence[Span], /) -> None:
        """Returns at once; a full queue drops."""
        for span in spans:
            self._hand_over(span)

    def close(self) -> None:
        """Send what is left, within three seconds; the threads end with the process."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _hand_over(self, span: Span) -> None:
        trace = self._trace
        self._ids.next = span
        parent = trace.set_span_in_context(trace.INVALID_SPAN)
        if span.parent_id is not None:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            context = trace.SpanContext(span.trace_id, span.parent_id, False, flags)
            parent = trace.set_span_in_context(trace.NonRecordingSpan(context))
        told = self._tracer.start_span(
            span.name,
            context=parent,
            kind=trace.SpanKind.CLIENT if span.calls_out else trace.SpanKind.INTERNAL,
            attributes=span.attributes,
            start_time=span.start,
        )
        if span.error:
            told.set_status(trace.StatusCode.ERROR, span.error)
        told.end(span.end)


class _GivenIds:
    """An IdGenerator that makes up nothing: others have named these spans already."""

    next: Span

    def generate_span_id(self) -> int:
        return self.next.span_id

    def generate_trace_id(self) -> int:
        return self.next.trace_id

    def is_trace_id_random(self) -> bool:
        return False


def _exporter(options: Options) -> Any:
    """The SDK's exporter, with one line for an outage instead of one for each try."""
    from opentelemetry.exporter.otlp.proto.http import trace_exporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    said = _Said()
    logging.getLogger(trace_exporter.__name__).addFilter(said)
    logging.getLogger("opentelemetry.sdk._shared_internal").addFilter(_Said())  # the queue is full

    class Telling(trace_exporter.OTLPSpanExporter):
        lost = 0

        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            said.clear()
            result = super().export(spans)
            if result is SpanExportResult.SUCCESS:
                if self.lost:
                    logger.info("traces are exported again; %d spans were lost", self.lost)
                self.lost = 0
                return result
            if not self.lost:
                logger.warning(
                    "traces cannot be exported to %s: %s; told once, until it works again",
                    options.endpoint,
                    said.why,
                )
            self.lost += len(spans)
            return result

    return Telling(
        endpoint=f"{options.endpoint}/v1/traces",
        headers=dict(options.headers),
        timeout=_ANSWER_SECONDS,
    )


class _Said(logging.Filter):
    """Keeps the SDK's complaints from the log, for one line of our own."""

    def __init__(self) -> None:
        super().__init__()
        self._found: list[logging.LogRecord] = []

    @property
    def why(self) -> str:
        """A try that is repeated is a warning, with its reason; the error at the end only says
        that there were enough of them."""
        told = sorted(self._found, key=lambda record: record.levelno)
        return told[0].getMessage() if told else "no reason given"

    def clear(self) -> None:
        self._found.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        self._found = [*self._found[-9:], record]
        return False
