"""The tracer provider, and OpenTelemetry's global one, which hands over to it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider as SdkProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision as Verdict, Sampler, SamplingResult
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
    TracerProvider,
)
from opentelemetry.util.types import Attributes

from ..calls.call import Call, current
from ..settings import Identity
from .trace_context import Decision

_providers: list[TracerProvider] = [NoOpTracerProvider()]


@contextmanager
def in_force(provider: TracerProvider) -> Iterator[None]:
    """Let `provider` make the spans of `opentelemetry.trace.get_tracer`, until the end."""
    if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):  # nobody has set one
        trace.set_tracer_provider(ProviderInForce())
    _providers.append(provider)
    try:
        yield
    finally:
        _providers.remove(provider)


class ProviderInForce(TracerProvider):
    """Asks the provider in force each time that a span starts."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        return _TracerInForce(
            (instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        )


class _TracerInForce(Tracer):
    def __init__(self, scope: tuple[str, str | None, str | None, Attributes]) -> None:
        self._scope = scope
        self._known: tuple[TracerProvider, Tracer] | None = None

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)

    def _tracer(self) -> Tracer:
        provider = _providers[-1]
        if self._known is None or self._known[0] is not provider:
            self._known = provider, provider.get_tracer(*self._scope)
        return self._known[1]


SAMPLED = TraceFlags(TraceFlags.SAMPLED)

# The call whose server span starts next: the first span id that is asked for is the call's.
opening: ContextVar[Call | None] = ContextVar("opening", default=None)


def context_of(call: Call, span_id: str, *, is_remote: bool) -> SpanContext:
    """Return the name of a span in the trace of `call`, as OpenTelemetry holds it."""
    return SpanContext(int(call.trace_id, 16), int(span_id, 16), is_remote, SAMPLED)


def above(call: Call, context: Context) -> Context:
    """Return `context` with what called `call`, if anything did, as the current span."""
    if call.parent_id is None:
        return context
    caller = NonRecordingSpan(context_of(call, call.parent_id, is_remote=True))
    return trace.set_span_in_context(caller, context)


class CallIds(RandomIdGenerator):
    """Hands out the ids that the call has already."""

    def generate_trace_id(self) -> int:
        call = current.get()
        return super().generate_trace_id() if call is None else int(call.trace_id, 16)

    def generate_span_id(self) -> int:
        call = opening.get()
        if call is not None:
            opening.set(None)
            return int(call.span_id, 16)
        call = current.get()
        if call is None or call.sampled:
            return super().generate_span_id()
        return int(call.span_id, 16)  # this span is not kept: what it calls hangs below the call


class FollowsCall(Sampler):
    """Decides as the parent was decided, else as the call under way, else by the ratio."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        *rest: Any,
        **named: Any,
    ) -> SamplingResult:
        """Decide about one span."""
        keeps = self._keeps(parent_context, trace_id)
        return SamplingResult(Verdict.RECORD_AND_SAMPLE if keeps else Verdict.DROP, attributes)

    def get_description(self) -> str:
        return type(self).__name__

    def _keeps(self, parent_context: Context | None, trace_id: int) -> bool:
        parent = trace.get_current_span(parent_context).get_span_context()
        if parent.is_valid:
            return parent.trace_flags.sampled
        call = current.get()
        if call is not None:
            return call.sampled
        return self._decision.chooses(trace.format_trace_id(trace_id))


class Spans(SpanProcessor):
    """Passes ended spans on; that of a call only when the call has ended and all is known."""

    def __init__(self) -> None:
        self._next: list[SpanProcessor] = []

    def add(self, processor: SpanProcessor) -> None:
        """Pass spans on to `processor` too."""
        self._next.append(processor)

    def on_end(self, span: ReadableSpan) -> None:
        call = current.get()
        if call is not None and span.context.span_id == int(call.span_id, 16):
            call.span = span
        else:
            self.release(span)

    def release(self, span: ReadableSpan) -> None:
        """Pass on a span that is complete."""
        for processor in self._next:
            processor.on_end(span)

    def shutdown(self) -> None:
        for processor in self._next:
            processor.shutdown()


def make_provider(resource: Resource, decision: Decision, spans: Spans) -> SdkProvider:
    """Return a provider that does nothing at exit: whoever made it stops it."""
    provider = SdkProvider(
        sampler=FollowsCall(decision),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=CallIds(),
    )
    provider.add_span_processor(spans)
    return provider


def resource_of(identity: Identity) -> Resource:
    """Say who sends the spans, by OpenTelemetry's conventions for services and deployments."""
    known = {
        "service.name": identity.name,
        "service.version": identity.version,
        "service.instance.id": identity.instance or socket.gethostname(),
        "deployment.environment.name": identity.environment,
    }
    return Resource.create({key: value for key, value in known.items() if value})
