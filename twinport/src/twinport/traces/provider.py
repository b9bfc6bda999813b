"""Tracer providers: OpenTelemetry's global one, and what makes that of a service follow its calls.

A span has the ids of the call that is being answered, and is sampled as the call is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from opentelemetry import context as otel, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span as SdkSpan,
    SpanProcessor,
    TracerProvider as SdkProvider,
)
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
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

from ..calls import Call, current

_providers: list[TracerProvider] = [NoOpTracerProvider()]  # the last one makes the spans


@contextmanager
def made_global(provider: TracerProvider) -> Iterator[None]:
    """Let `provider` make the spans of `opentelemetry.trace.get_tracer`, until the end."""
    before = trace.get_tracer_provider()
    if isinstance(before, ProxyTracerProvider):  # nobody has set one
        trace.set_tracer_provider(GlobalProvider())
    elif not isinstance(before, GlobalProvider):  # opentelemetry-instrument has, as distros do
        _providers[0] = before  # for what is done when no service runs
        vars(trace)["_TRACER_PROVIDER"] = GlobalProvider()  # two would share out each trace
    _providers.append(provider)
    try:
        yield
    finally:
        _providers.remove(provider)


class GlobalProvider(TracerProvider):
    """Hands over to the provider of the service that runs: OpenTelemetry's can be set only once."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return _GlobalTracer(lambda provider: provider.get_tracer(*args, **kwargs))

    def __getattr__(self, name: str) -> Any:
        """Return what the SDK's has besides: `add_span_processor`, `force_flush`, `resource`."""
        return getattr(_providers[-1], name)


class _GlobalTracer(NoOpTracer):
    """Asks at the start of each span whose it is; what it inherits calls `start_span`, too."""

    def __init__(self, make: Callable[[TracerProvider], Tracer]) -> None:
        self._tracer_of = lru_cache(maxsize=1)(make)

    def start_span(self, *args: Any, **kwargs: Any) -> Span:
        return self._tracer_of(_providers[-1]).start_span(*args, **kwargs)


SAMPLED = TraceFlags(TraceFlags.SAMPLED)

# The call whose server span starts next: the first span id that is asked for is the call's.
starting_call: ContextVar[Call | None] = ContextVar("starting_call", default=None)


def span_context(call: Call, span_id: str, *, is_remote: bool) -> SpanContext:
    """Return the name of a span in the trace of `call`, as OpenTelemetry holds it."""
    return SpanContext(int(call.trace_id, 16), int(span_id, 16), is_remote, SAMPLED)


def below_caller(call: Call, context: Context) -> Context:
    """Return `context` with what called `call`, if anything did, as the current span."""
    if call.parent_id is None:
        return context
    caller = NonRecordingSpan(span_context(call, call.parent_id, is_remote=True))
    return trace.set_span_in_context(caller, context)


DEBUG = "b3.debug"  # of a span: nobody may sample it away
DEBUGGED = otel.create_key("b3-debug")  # of a context: the trace for which B3's decision was read


def debugged_trace(call: Call | None, context: Context | None) -> object:
    """Return the id of the trace for which B3's debug decision holds: of `call`, or one read."""
    if call is not None and call.debug:
        return call.trace_id
    return otel.get_value(DEBUGGED, context)


class CallIds(RandomIdGenerator):
    """Hands out the ids that the call has already."""

    def generate_trace_id(self) -> int:
        call = current.get()
        return super().generate_trace_id() if call is None else int(call.trace_id, 16)

    def generate_span_id(self) -> int:
        call = starting_call.get()
        if call is not None:
            starting_call.set(None)
            return int(call.span_id, 16)
        call = current.get()
        if call is None or call.sampled:
            return super().generate_span_id()
        return int(call.span_id, 16)  # this span is not kept: what it calls hangs below the call


LOW_BITS = 64  # of a trace id, those that decide
ABOVE_ALL = "g"  # no hexadecimal number comes after it


class CallSampler(Sampler):
    """Samples spans as their parent was, else as the call under way is, else by the ratio."""

    def __init__(self, ratio: float) -> None:
        self.set_ratio(ratio)

    def set_ratio(self, ratio: float) -> None:
        """Sample this part of the traces from now on, 0 to 1."""
        bound = round(ratio * (1 << LOW_BITS))
        self._bound = ABOVE_ALL if bound >> LOW_BITS else f"{bound:016x}"

    def samples(self, trace_id: str) -> bool:
        """Decide by the rule of OpenTelemetry's TraceIdRatioBased, so that services agree."""
        return trace_id[16:] < self._bound

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
        parent, call = trace.get_current_span(parent_context).get_span_context(), current.get()
        if parent.is_valid:
            sampled = parent.trace_flags.sampled
        elif call is not None:
            sampled = call.sampled
        else:
            sampled = self.samples(trace.format_trace_id(trace_id))
        if not sampled:
            return SamplingResult(Decision.DROP, attributes)
        debugged = debugged_trace(call, parent_context)
        if debugged is not None and debugged == trace.format_trace_id(trace_id):
            attributes = {**(attributes or {}), DEBUG: True}
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return type(self).__name__


class CallProvider(SdkProvider):
    """The provider of one service; processors that are added hear of a call when all is known."""

    def __init__(self, spans: "EndedSpans", sampler: CallSampler, resource: Resource) -> None:
        super().__init__(
            sampler=sampler,
            resource=resource,
            shutdown_on_exit=False,  # whoever made it stops it
            id_generator=CallIds(),
        )
        self._spans = spans
        super().add_span_processor(spans)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        self._spans.add(span_processor)


class EndedSpans(SpanProcessor):
    """Passes ended spans on; that of a call only when the call has ended and all is known.

    Of `queue`, the service's own way out, only the end of spans is asked.
    """

    def __init__(self, queue: SpanProcessor | None) -> None:
        self._added: tuple[SpanProcessor, ...] = ()
        self._all: tuple[SpanProcessor, ...] = () if queue is None else (queue,)

    def add(self, processor: SpanProcessor) -> None:
        """Pass spans on to `processor` too."""
        self._added, self._all = (*self._added, processor), (*self._all, processor)

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        for processor in self._added:
            processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        call = current.get()
        if call is not None and span.context.span_id == int(call.span_id, 16):
            call.span = span
        else:
            self.release(span)

    def release(self, span: ReadableSpan) -> None:
        """Pass on a span that is complete."""
        for processor in self._all:
            processor.on_end(span)

    def shutdown(self) -> None:
        for processor in self._all:
            processor.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        flushed = [processor.force_flush(timeout_millis) for processor in self._all]
        return all(flushed)
