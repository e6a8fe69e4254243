"""OpenTelemetry, where an operator asks for it: spans of requests, recomputation and jobs.

Nothing is imported, and nothing leaves the process, unless `TANYUAN_OTLP_ENDPOINT` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.settings import Settings, SettingsError
from api.version import version

if TYPE_CHECKING:
    from fastapi import FastAPI
    from opentelemetry.trace import Tracer

_tracer: Tracer | None = None


@contextmanager
def telemetry(settings: Settings, role: str) -> Iterator[Callable[[FastAPI], None]]:
    """Send spans to the collector that the settings name, while inside.

    Yields:
        What an app is handed to, so that its requests are spans too.

    Raises:
        SettingsError: The extra is not installed.
    """
    global _tracer
    if not settings.otlp_endpoint:
        yield lambda app: None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"TANYUAN_OTLP_ENDPOINT is set, but {error.name} is not installed: "
            "pip install '.[opentelemetry]'"
        ) from error
    resource = {"service.name": "tanyuan", "service.version": version(), "tanyuan.role": role}
    provider = TracerProvider(resource=Resource.create(resource))
    url = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    _tracer = provider.get_tracer("tanyuan", version())

    def instrument(app: FastAPI) -> None:
        FastAPIInstrumentor.instrument_app(
            app, tracer_provider=provider, excluded_urls="healthz,readyz,metrics"
        )

    try:
        yield instrument
    finally:
        _tracer = None
        provider.shutdown()


@contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A span around some work, if spans are sent."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, attributes=attributes):
        yield
