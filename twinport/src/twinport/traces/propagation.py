"""Trace context between services: W3C Trace Context, B3 and baggage, read and written."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from opentelemetry import context as otel, trace
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
from . import baggage
from .provider import DEBUGGED, CallSampler, below_caller, debugged_trace, starting_call

Get = Callable[[str], str | None]  # the value of a header by its lower-case name

TRACEPARENT = re.compile(
    "(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})-(?P<span_id>[0-9a-f]{16})"
    "-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
HEX = frozenset("0123456789abcdef")
TRACE_ID, SPAN_ID = 32, 16  # digits
B3_SINGLE = ("trace id", "span id", "decision", "parent")
B3_DEBUG = "d"
B3_SAMPLED = {"1": True, B3_DEBUG: True, "true": True, "0": False, "false": False}


class Parent(NamedTuple):
    """What a caller says; without ids it only decides, with `sampled` None it leaves that to us.

    `debug` is B3's: sampled, whatever any sampler on the way would say. `state` is W3C's.
    """

    trace_id: str | None
    span_id: str | None
    sampled: bool | None
    debug: bool = False
    state: str | None = None


def read_traceparent(get: Get) -> Parent | None:
    """Read https://www.w3.org/TR/trace-context/; None if it is absent or garbled."""
    match = TRACEPARENT.fullmatch((get("traceparent") or "").strip())
    if match is None or (match["version"] == "00" and match["more"]):  # later ones may have more
        return None
    trace_id, span_id = match["trace_id"], match["span_id"]
    if not (_is_id(trace_id, TRACE_ID) and _is_id(span_id, SPAN_ID)):
        return None
    sampled = bool(int(match["flags"], 16) & 1)
    return Parent(trace_id, span_id, sampled, False, get("tracestate"))


def read_b3(get: Get) -> Parent | None:
    """Read https://github.com/openzipkin/b3-propagation, either form; None if it is not there."""
    single = _single(*(get("b3") or "").strip().split("-"))
    if single is not None:
        return single
    sampled = B3_DEBUG if get("x-b3-flags") == "1" else get("x-b3-sampled")
    return _b3(get("x-b3-traceid"), get("x-b3-spanid"), sampled)


def _single(first: str, *others: str) -> Parent | None:
    if not others:  # a decision without a trace
        return _b3(None, None, first)
    return _b3(first, *others[:2]) if len(others) < len(B3_SINGLE) else None


def _b3(trace_id: str | None, span_id: str | None, sampled: str | None = None) -> Parent | None:
    padded = (trace_id or "").lower().rjust(TRACE_ID, "0")  # a trace may have begun with 64 bits
    span_id, said = (span_id or "").lower(), (sampled or "").lower()
    decision, debug = B3_SAMPLED.get(said), said == B3_DEBUG
    if _is_id(padded, TRACE_ID) and _is_id(span_id, SPAN_ID):
        return Parent(padded, span_id, decision, debug)
    return None if decision is None else Parent(None, None, decision, debug)


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
WRITTEN_FOR_DEBUG = WRITTEN | {
    "b3": {"b3": "{}-{}-d"},
    "b3multi": {"x-b3-traceid": "{0}", "x-b3-spanid": "{1}", "x-b3-flags": "1"},
}


class Propagator(TextMapPropagator):
    """Reads and writes the headers of the configured forms; set as OpenTelemetry's global one.

    The decision about sampling goes with each call, a negative one too.
    """

    def __init__(self, propagators: Sequence[str], sampler: CallSampler) -> None:
        self._sampler = sampler
        self._readers = list(dict.fromkeys(READERS[p] for p in propagators if p in READERS))
        self._written = _forms(propagators, WRITTEN)
        self._written_for_debug = _forms(propagators, WRITTEN_FOR_DEBUG)
        self._has_b3, self._has_baggage = read_b3 in self._readers, "baggage" in propagators
        self.reads = frozenset(name for p in propagators for name in READ[p])

    @property
    def fields(self) -> set[str]:
        written = {*self._written, *self._written_for_debug}
        return written | (self.reads & {"tracestate", "baggage"})

    def join(self, call: Call, headers: Mapping[str, str]) -> None:
        """Decide whether `call` is sampled; it joins the trace of its caller, and its baggage.

        `headers` are by lower-case name; needed are those that `reads` names.
        """
        parent = None
        if not self.reads.isdisjoint(headers):
            parent = self._parent(headers.get)
            self._attach_baggage(headers)
        if parent is None:
            call.sampled = self._sampler.samples(call.trace_id)
        else:
            self._follow(call, parent)

    def restart(self, call: Call, headers: Mapping[str, str]) -> None:
        """Decide whether `call` is sampled, by the ratio alone; its trace is linked to a caller's.

        Nothing else of what the caller says is taken.
        """
        call.sampled = self._sampler.samples(call.trace_id)
        parent = None if self.reads.isdisjoint(headers) else self._parent(headers.get)
        if parent is not None and parent.trace_id is not None and parent.span_id is not None:
            call.linked = parent.trace_id, parent.span_id

    def _follow(self, call: Call, parent: Parent) -> None:
        if parent.trace_id is not None:
            call.trace_id, call.parent_id = parent.trace_id, parent.span_id
            call.trace_state = parent.state
        decided = parent.sampled
        call.sampled = self._sampler.samples(call.trace_id) if decided is None else decided
        if parent.debug:
            call.debug = True

    def _attach_baggage(self, headers: Mapping[str, str]) -> None:
        if self._has_baggage and "baggage" in headers:
            # Each call has a task of its own, so nobody else sees this context.
            otel.attach(baggage.extracted(headers["baggage"], Context()))

    def _parent(self, get: Get) -> Parent | None:
        """Return what the caller says, in the first form that is there."""
        for read in self._readers:
            if parent := read(get):
                return self._debugged(parent, get)
        return None

    def _debugged(self, parent: Parent, get: Get) -> Parent:
        """Add what only B3 can say of a trace whose ids came in another form."""
        if parent.debug or not self._has_b3:
            return parent
        b3 = get("b3")
        if (b3 is None or "-d" not in f"-{b3}".lower()) and get("x-b3-flags") != "1":
            return parent  # as most do
        said = read_b3(get)
        if said is None or not said.debug or said.trace_id not in {None, parent.trace_id}:
            return parent
        return parent._replace(sampled=True, debug=True)

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
            return ",".join(values) if values else None

        context = Context() if context is None else context
        if self._has_baggage and (header := get("baggage")):
            context = baggage.extracted(header, context)
        parent = self._parent(get)
        if parent is None or parent.trace_id is None or parent.span_id is None:
            return context
        if parent.debug:
            context = otel.set_value(DEBUGGED, parent.trace_id, context)
        return trace.set_span_in_context(self._caller(parent), context)

    def _caller(self, parent: Parent) -> NonRecordingSpan:
        assert parent.trace_id is not None
        assert parent.span_id is not None
        left_to_us = parent.sampled is None
        sampled = self._sampler.samples(parent.trace_id) if left_to_us else parent.sampled
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        state = TraceState.from_header([parent.state or ""])
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
            call = current.get()
            debug = debugged_trace(call, context) == ids[0]
            for name, form in (self._written_for_debug if debug else self._written).items():
                setter.set(carrier, name, form.format(*ids))
            if call is not None and call.trace_state and call.trace_id == ids[0]:
                setter.set(carrier, "tracestate", call.trace_state)
        if self._has_baggage and (header := baggage.header_of(context)):
            setter.set(carrier, "baggage", header)


def _forms(propagators: Sequence[str], written: Mapping[str, dict[str, str]]) -> dict[str, str]:
    return {name: form for each in propagators for name, form in written[each].items()}


def _current_ids(context: Context | None) -> tuple[str, str, bool] | None:
    """Return those of the current span, else of the call that is being answered."""
    span = trace.get_current_span(context).get_span_context()
    if span.is_valid:
        ids = trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)
        return *ids, span.trace_flags.sampled
    call = current.get()
    return None if call is None else (call.trace_id, call.span_id, call.sampled)
