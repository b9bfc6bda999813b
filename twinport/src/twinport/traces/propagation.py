"""What is handed on to the next service, and what OpenTelemetry's own instrumentations read."""

from collections.abc import Iterator, Sequence

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, get_current
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from ..calls.call import current
from .provider import above, opening
from .trace_context import Decision, Get, Ids, write_b3, write_b3multi, write_traceparent

WRITERS = {"tracecontext": write_traceparent, "b3": write_b3, "b3multi": write_b3multi}
FIELDS = {
    "tracecontext": {"traceparent", "tracestate"},
    "b3": {"b3"},
    "b3multi": {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"},
    "baggage": {"baggage"},
}


class Propagator(TextMapPropagator):
    """Sends the decision with each call, a negative one too; set as OpenTelemetry's global one."""

    def __init__(self, decision: Decision, propagators: Sequence[str]) -> None:
        self._decision = decision
        self._writers = [WRITERS[p] for p in propagators if p in WRITERS]
        self._states = "tracecontext" in propagators
        self._baggage = W3CBaggagePropagator() if "baggage" in propagators else None
        self._fields = set().union(*(FIELDS[p] for p in propagators))

    @property
    def fields(self) -> set[str]:
        return self._fields

    def outgoing(self, context: Context | None = None) -> Iterator[tuple[str, str]]:
        """Yield the headers of a call that is made now; none outside of any trace."""
        ids = _ids(context)
        if ids is not None:
            for write in self._writers:
                yield from write(ids)
            yield from self._state(ids)
        if self._baggage is not None and baggage.get_all(context):
            yield from self._luggage(context)

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        for key, value in self.outgoing(context):
            setter.set(carrier, key, value)

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Return what the carrier says; of the call that is being opened all is known already."""
        call = opening.get()
        if call is not None:
            return above(call, get_current() if context is None else context)

        def get(name: str) -> str | None:
            values = getter.get(carrier, name)
            return values[0] if values else None

        return self._remote(get, self.luggage(get, Context() if context is None else context))

    def luggage(self, get: Get, context: Context) -> Context:
        """Return `context` with the caller's baggage."""
        header = None if self._baggage is None else get("baggage")
        if header is None or self._baggage is None:
            return context
        return self._baggage.extract({"baggage": header}, context)

    def _luggage(self, context: Context | None) -> Iterator[tuple[str, str]]:
        carrier: dict[str, str] = {}
        if self._baggage is not None:
            self._baggage.inject(carrier, context)
        yield from carrier.items()

    def _remote(self, get: Get, context: Context) -> Context:
        parent = self._decision.parent(get)
        if parent is None or parent.trace_id is None or parent.span_id is None:
            return context
        left_to_us = parent.sampled is None
        sampled = self._decision.chooses(parent.trace_id) if left_to_us else parent.sampled
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        state = TraceState.from_header([get("tracestate") or ""]) if self._states else None
        remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags, state)
        return trace.set_span_in_context(NonRecordingSpan(remote), context)

    def _state(self, ids: Ids) -> Iterator[tuple[str, str]]:
        call = current.get()
        if self._states and call is not None and call.trace_state and call.trace_id == ids.trace_id:
            yield "tracestate", call.trace_state


def _ids(context: Context | None) -> Ids | None:
    """Return the span that is current, else the call that is being answered."""
    here = trace.get_current_span(context).get_span_context()
    if here.is_valid:
        ids = trace.format_trace_id(here.trace_id), trace.format_span_id(here.span_id)
        return Ids(*ids, here.trace_flags.sampled)
    call = current.get()
    return None if call is None else Ids(call.trace_id, call.span_id, call.sampled)
