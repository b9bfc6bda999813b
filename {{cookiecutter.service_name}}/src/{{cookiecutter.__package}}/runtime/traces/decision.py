"""The first thing that happens to a call: its ids, and whether it is traced."""

from collections.abc import Mapping, Sequence
from random import getrandbits

from ..calls.call import Call, Transport
from .headers import B3, W3C, Get, Parent, read_b3, read_traceparent

LOW_64_BITS = (1 << 64) - 1
READERS = {"tracecontext": read_traceparent, "b3": read_b3, "b3multi": read_b3}
HEADERS = {"tracecontext": W3C, "b3": B3, "b3multi": B3}


class Decision:
    """Decides before any instrumentation runs: as the caller did, else by the ratio."""

    def __init__(self, ratio: float, propagators: Sequence[str]) -> None:
        self.set_ratio(ratio)
        self._readers = list(dict.fromkeys(READERS[p] for p in propagators if p in READERS))
        self._carries_state = "tracecontext" in propagators
        self.reads = frozenset(name for p in propagators for name in HEADERS.get(p, ()))

    def set_ratio(self, ratio: float) -> None:
        """Trace this part of the calls from now on, 0 to 1."""
        self._bound = round(ratio * (1 << 64))

    def chooses(self, trace_id: int) -> bool:
        """Tell by the rule of OpenTelemetry's TraceIdRatioBased, so that services agree."""
        return trace_id & LOW_64_BITS < self._bound

    def parent(self, get: Get) -> Parent | None:
        """Return what the caller says, in the first form that is there."""
        for read in self._readers:
            parent = read(get)
            if parent is not None:
                return parent
        return None

    def begin(self, transport: Transport, headers: Mapping[str, str]) -> Call:
        """Return a call with its ids, made of one draw."""
        bits = getrandbits(192)
        ids = f"{bits:048x}"
        call = Call(transport, ids[:32], ids[32:])
        parent = None if self.reads.isdisjoint(headers) else self.parent(headers.get)
        if parent is None:
            call.sampled = self.chooses(bits >> 64)
        else:
            self._follow(call, parent, headers.get)
        return call

    def _follow(self, call: Call, parent: Parent, get: Get) -> None:
        if parent.trace_id is not None:
            call.trace_id = call.request_id = parent.trace_id
            call.parent_id = parent.span_id
            call.trace_state = get("tracestate") if self._carries_state else None
        left_to_us = parent.sampled is None
        call.sampled = self.chooses(int(call.trace_id, 16)) if left_to_us else bool(parent.sampled)
