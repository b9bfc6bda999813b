"""The edge of a call, what both transports do when one begins and when it ends."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from loguru import logger

from .call import Call, Observer, Transport, new_ids
from .limits import Alarm, Gate

Headers = Mapping[str, str]  # by lower-case name

REQUEST_ID = "x-request-id"
TRACE_ID = "x-trace-id"
LONGEST_REQUEST_ID = 128  # characters; a longer one is not the caller's to choose


@dataclass(frozen=True, slots=True)
class Edge:
    """The parts that the edges of both transports share.

    `join_trace` lets a call join the trace of its caller, for which it needs the headers `reads`;
    `observers` hear of each ended call; `timeout` is the longest time, in seconds, until a unary
    call is answered.
    """

    join_trace: Callable[[Call, Headers], None]
    reads: Collection[str]
    observers: Sequence[Observer]
    gate: Gate
    alarm: Alarm
    timeout: float
    ids: Iterator[tuple[str, str]] = field(default_factory=new_ids)

    def open(self, transport: Transport, headers: Headers) -> Call:
        """Return the call that `headers` announce, its clock running."""
        call = Call(transport, *next(self.ids))
        self.join_trace(call, headers)
        call.started_unix_ns = time.time_ns()
        call.started_ns = time.perf_counter_ns()
        request_id = headers.get(REQUEST_ID)
        call.request_id = request_id if request_id and _is_sane(request_id) else call.trace_id
        return call

    def close(self, call: Call) -> None:
        """Tell everybody that `call` has ended."""
        self.gate.leave(call)
        call.duration_ns = time.perf_counter_ns() - call.started_ns
        for observe in self.observers:
            observe(call)


def _is_sane(request_id: str) -> bool:
    return (
        len(request_id) <= LONGEST_REQUEST_ID and request_id.isascii() and request_id.isprintable()
    )


def note_failure(call: Call, error: BaseException) -> None:
    """Log what nobody foresaw, with its traceback, once."""
    call.error, call.code = error, "INTERNAL"
    logger.opt(exception=error).error("{} {} failed", call.method, call.path)


def is_cut(error: BaseException) -> bool:
    """Tell whether a call ended because nobody waits for it any more."""
    return isinstance(error, asyncio.CancelledError | GeneratorExit)
