"""The first thing that happens to a call: its ids, and whether it is traced."""

from collections.abc import Mapping, Sequence

from ..calls.call import Call, Transport
from ..calls.ids import new_ids
from .headers import B3, W3C, Get, Parent, read_b3, read_traceparent

LOW_BITS = 64  # of a trace id, those that decide
ABOVE_ALL = "g"  # no hexadecimal number comes after it
READERS = {"tracecontext": read_traceparent, "b3": read_b3, "b3multi": read_b3}
HEADERS = {"tracecontext": W3C, "b3": B3, "b3multi": B3}


class Decision:
    """Decides before any instrumentation runs: as the caller did, else by the ratio."""

    def __init__(self, ratio: float, propagators: Sequence[str]) -> None:
        self.set_ratio(ratio)
        self._ids = new_ids()
        self._readers = list(dict.fromkeys(READERS[p] for p in propagators if p in READERS))
        self._carries_state = "tracecontext" in propagators
        self.reads = frozenset(name for p in propagators for name in HEADERS.get(p, ()))

    def set_ratio(self, ratio: float) -> None:
        """Trace this part of the calls from now on, 0 to 1."""
        bound = round(ratio * (1 << LOW_BITS))
        self._bound = ABOVE_ALL if bound >> LOW_BITS else f"{bound:016x}"

    def chooses(self, trace_id: str) -> bool:
        """Tell by the rule of OpenTelemetry's TraceIdRatioBased, so that services agree."""
        return trace_id[16:] < self._bound

    def parent(self, get: Get) -> Parent | None:
        """Return what the caller says, in the first form that is there."""
        for read in self._readers:
            parent = read(get)
            if parent is not None:
                return parent
        return None

    def begin(self, transport: Transport, headers: Mapping[str, str]) -> Call:
        """Return a call with its ids."""
        call = Call(transport, *next(self._ids))
        parent = None if self.reads.isdisjoint(headers) else self.parent(headers.get)
        if parent is None:
            call.sampled = self.chooses(call.trace_id)
        else:
            self._follow(call, parent, headers.get)
        return call

    def _follow(self, call: Call, parent: Parent, get: Get) -> None:
        if parent.trace_id is not None:
            call.trace_id = call.request_id = parent.trace_id
            call.parent_id = parent.span_id
            call.trace_state = get("tracestate") if self._carries_state else None
        left_to_us = parent.sampled is None
        call.sampled = self.chooses(call.trace_id) if left_to_us else bool(parent.sampled)
