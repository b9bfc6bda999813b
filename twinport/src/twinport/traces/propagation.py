"""Trace context between services: W3C Trace Context, B3 and baggage, read and written."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from opentelemetry import context as otel, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from ..calls import Call, current
from .provider import CallSampler, below_caller, starting_call

Get = Callable[[str], str | None]  # the value of a header by its lower-case name

TRACEPARENT = re.compile(
    "(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})"
    "-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
HEX = frozenset("0123456789abcdef")
TRACE_ID, SPAN_ID = 32, 16  # digits
B3_SAMPLED = {"1": True, "d": True, "true": True, "0": False, "false": False}


class Parent(NamedTuple):
    """What a caller says; without ids it only decides, with `sampled` None it leaves that to us."""

    trace_id: str | None
    span_id: str | None
    sampled: bool | None


def read_traceparent(get: Get) -> Parent | None:
    """Read https://www.w3.org/TR/trace-context/; None if it is absent or garbled."""
    match = TRACEPARENT.fullmatch((get("traceparent") or "").strip())
    if match is None or (match["version"] == "00" and match["more"]):  # later ones may have more
        return None
    trace_id, span_id = match["trace_id"], match["span_id"]
    if not (_is_id(trace_id, TRACE_ID) and _is_id(span_id, SPAN_ID)):
        return None
    return Parent(trace_id, span_id, bool(int(match["flags"], 16) & 1))


def read_b3(get: Get) -> Parent | None:
    """Read https://github.com/openzipkin/b3-propagation, either form; None if it is not there."""
    single = get("b3")
    if single is None:
        sampled = "d" if get("x-b3-flags") == "1" else get("x-b3-sampled")
        return _b3(get("x-b3-traceid"), get("x-b3-spanid"), sampled)
    parts = single.strip().split("-")
    if len(parts) == 1:  # a decision without a trace
        return _b3(None, None, parts[0])
    return _b3(*parts[:3])


def _b3(trace_id: str | None, span_id: str | None, sampled: str | None = None) -> Parent | None:
    padded = (trace_id or "").lower().rjust(TRACE_ID, "0")  # a trace may have begun with 64 bits
    span_id, decision = (span_id or "").lower(), B3_SAMPLED.get((sampled or "").lower())
    if _is_id(padded, TRACE_ID) and _is_id(span_id, SPAN_ID):
        return Parent(padded, span_id, decision)
    return None if decision is None else Parent(None, None, decision)


def _is_id(text: str, digits: int) -> bool:
    return len(text) == digits and HEX.issuperset(text) and text.strip("0") != ""


READERS = {"tracecontext": read_traceparent, "b3": read_b3, "b3multi": read_b3}
B3 = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
READ = {
    "tracecontext": ("traceparent", "tracestate"),
    "b3": B3,
    "b3multi": B3,
    "baggage": ("baggage",),
}
WRITTEN = {  # the ids of a span, and whether it is sampled
    "tracecontext": {"traceparent": "00-{}-{}-0{:d}"},
    "b3": {"b3": "{}-{}-{:d}"},
    "b3multi": {"x-b3-traceid": "{0}", "x-b3-spanid": "{1}", "x-b3-sampled": "{2:d}"},
    "baggage": {},
}


class Propagator(TextMapPropagator):
    """Reads and writes the headers of the configured forms; set as OpenTelemetry's global one.

    The decision about sampling goes with each call, a negative one too.
    """

    def __init__(self, propagators: Sequence[str], sampler: CallSampler) -> None:
        self._sampler = sampler
        self._readers = list(dict.fromkeys(READERS[p] for p in propagators if p in READERS))
        self._written = {name: form for p in propagators for name, form in WRITTEN[p].items()}
        self._has_state = "tracecontext" in propagators
        self._baggage = W3CBaggagePropagator() if "baggage" in propagators else None
        self.reads = frozenset(name for p in propagators for name in READ[p])

    @property
    def fields(self) -> set[str]:
        return {*self._written, *self.reads & {"tracestate", "baggage"}}

    def join(self, call: Call, headers: Mapping[str, str]) -> None:
        """Decide whether `call` is sampled; it joins the trace of its caller, and its baggage.

        `headers` are by lower-case name; needed are those that `reads` names.
        """
        parent = None
        if not self.reads.isdisjoint(headers):
            parent = self._parent(headers.get)
            self._attach_baggage(headers)
        if parent is not None and parent.trace_id is not None:
            call.trace_id, call.parent_id = parent.trace_id, parent.span_id
            call.trace_state = headers.get("tracestate") if self._has_state else None
        if parent is None or parent.sampled is None:
            call.sampled = self._sampler.samples(call.trace_id)
        else:
            call.sampled = parent.sampled

    def _attach_baggage(self, headers: Mapping[str, str]) -> None:
        if self._baggage is not None and "baggage" in headers:
            # Each call has a task of its own, so nobody else sees this context.
            otel.attach(self._baggage.extract(headers, Context()))

    def _parent(self, get: Get) -> Parent | None:
        """Return what the caller says, in the first form that is there."""
        for read in self._readers:
            if parent := read(get):
                return parent
        return None

    def extract(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> Context:
        """Return what the carrier says; of the call that is being opened all is known already."""
        call = starting_call.get()
        if call is not None:
            return below_caller(call, otel.get_current() if context is None else context)

        def get(name: str) -> str | None:
            values = getter.get(carrier, name)
            return values[0] if values else None

        context = Context() if context is None else context
        if self._baggage is not None:
            context = self._baggage.extract(carrier, context, getter)
        caller = self._caller(get)
        return trace.set_span_in_context(caller, context) if caller else context

    def _caller(self, get: Get) -> NonRecordingSpan | None:
        parent = self._parent(get)
        if parent is None or parent.trace_id is None or parent.span_id is None:
            return None
        left_to_us = parent.sampled is None
        sampled = self._sampler.samples(parent.trace_id) if left_to_us else parent.sampled
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        state = TraceState.from_header([get("tracestate") or ""]) if self._has_state else None
        ids = int(parent.trace_id, 16), int(parent.span_id, 16)
        return NonRecordingSpan(SpanContext(*ids, True, flags, state))

    def inject(
        self,
        carrier: CarrierT,
        context: Context | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Set the headers of a call that is made now; no ids outside of any trace."""
        ids = _current_ids(context)
        if ids is not None:
            for name, form in self._written.items():
                setter.set(carrier, name, form.format(*ids))
            call = current.get()
            if call is not None and call.trace_state and call.trace_id == ids[0]:
                setter.set(carrier, "tracestate", call.trace_state)
        if self._baggage is not None:
            self._baggage.inject(carrier, context, setter)


def _current_ids(context: Context | None) -> tuple[str, str, bool] | None:
    """Return those of the current span, else of the call that is being answered."""
    span = trace.get_current_span(context).get_span_context()
    if span.is_valid:
        ids = trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
        return *ids, span.trace_flags.sampled
    call = current.get()
    return None if call is None else (call.trace_id, call.span_id, call.sampled)
