"""What both transports do when a call begins and when it ends."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from loguru import logger

from .call import Call, Observer, Transport
from .limits import Alarm, Gate

Headers = Mapping[str, str]  # by lower-case name
Begin = Callable[[Transport, Headers], Call]

REQUEST_ID = "x-request-id"
TRACE_ID = "x-trace-id"
LONGEST_REQUEST_ID = 128  # characters; a longer one is not the caller's to choose


@dataclass(frozen=True, slots=True)
class Edge:
    """The parts that the edges of both transports share.

    `begin` decides about the trace and returns the call, for which it needs the headers `reads`;
    `observers` hear of each ended call; `timeout` is the longest time, in seconds, until a unary
    call is answered.
    """

    begin: Begin
    reads: Collection[str]
    observers: Sequence[Observer]
    gate: Gate
    alarm: Alarm
    timeout: float

    def open(self, transport: Transport, headers: Headers) -> Call:
        """Return the call that `headers` announce, its clock running."""
        call = self.begin(transport, headers)
        call.started_unix_ns = time.time_ns()
        call.started_ns = time.perf_counter_ns()
        asked = headers.get(REQUEST_ID)
        call.request_id = asked if asked and _is_sane(asked) else call.trace_id
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
