"""The trace context of a call, by W3C Trace Context or B3, and whether the call is sampled."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..calls.call import Call, Transport, new_ids

Get = Callable[[str], str | None]  # the value of a header by its lower-case name

HEX = frozenset("0123456789abcdef")
TRACE_ID, SPAN_ID, FLAGS, VERSION = 32, 16, 2, 2  # digits
TRACEPARENT_PARTS = 4
W3C = ("traceparent", "tracestate")
B3 = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
B3_SAMPLED = {"1": True, "d": True, "true": True, "0": False, "false": False}


class Parent(NamedTuple):
    """What a caller says; without ids it only decides, with `sampled` None it leaves that to us."""

    trace_id: str | None
    span_id: str | None
    sampled: bool | None


class Ids(NamedTuple):
    """What the next service is told: ids in lower-case hex."""

    trace_id: str
    span_id: str
    sampled: bool


def read_traceparent(get: Get) -> Parent | None:
    """Read https://www.w3.org/TR/trace-context/; None if it is absent or garbled."""
    header = get("traceparent")
    if header is None:
        return None
    version, *parts = header.strip().split("-")
    if not _is_hex(version, VERSION) or version == "ff" or not _fits(version, parts):
        return None
    trace_id, span_id, flags = parts[:3]
    if not (_is_id(trace_id, TRACE_ID) and _is_id(span_id, SPAN_ID) and _is_hex(flags, FLAGS)):
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))


def read_b3(get: Get) -> Parent | None:
    """Read https://github.com/openzipkin/b3-propagation, either form; None if it is not there."""
    single = get("b3")
    if single is not None:
        return _b3(*_single(single.strip().lower()))
    trace_id, sampled = get("x-b3-traceid"), get("x-b3-sampled")
    if trace_id is None and sampled is None:
        return None
    debug = get("x-b3-flags") == "1"
    span_id = (get("x-b3-spanid") or "").lower()
    return _b3((trace_id or "").lower(), span_id, "d" if debug else (sampled or "").lower())


def write_traceparent(ids: Ids) -> Iterator[tuple[str, str]]:
    """Yield the one header of W3C Trace Context."""
    yield "traceparent", f"00-{ids.trace_id}-{ids.span_id}-{'01' if ids.sampled else '00'}"


def write_b3(ids: Ids) -> Iterator[tuple[str, str]]:
    """Yield B3's single header."""
    yield "b3", f"{ids.trace_id}-{ids.span_id}-{'1' if ids.sampled else '0'}"


def write_b3multi(ids: Ids) -> Iterator[tuple[str, str]]:
    """Yield B3's separate headers."""
    yield "x-b3-traceid", ids.trace_id
    yield "x-b3-spanid", ids.span_id
    yield "x-b3-sampled", "1" if ids.sampled else "0"


def _fits(version: str, parts: list[str]) -> bool:
    """Tell whether there are as many parts as this version has; later ones may have more."""
    expected = TRACEPARENT_PARTS - 1
    return len(parts) == expected or (len(parts) > expected and version != "00")


def _single(header: str) -> tuple[str, str, str]:
    parts = header.split("-")
    if len(parts) == 1:  # a decision without a trace
        return "", "", header
    trace_id, span_id, *rest = parts
    return trace_id, span_id, rest[0] if rest else ""


def _b3(trace_id: str, span_id: str, sampled: str) -> Parent | None:
    padded = trace_id.rjust(TRACE_ID, "0")  # a trace may have begun with 64 bits
    decision = B3_SAMPLED.get(sampled)
    if _is_id(padded, TRACE_ID) and _is_id(span_id, SPAN_ID):
        return Parent(padded, span_id, decision)
    return None if decision is None else Parent(None, None, decision)


def _is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and HEX.issuperset(text)


def _is_id(text: str, digits: int) -> bool:
    return _is_hex(text, digits) and text.strip("0") != ""


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
