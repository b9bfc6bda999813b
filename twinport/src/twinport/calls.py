"""What each call passes through on both transports: its record, deadline, limits and observers."""

import asyncio
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from random import randbytes
from typing import Annotated, Any, AnyStr, Literal, Protocol

from loguru import logger
from pydantic import Field

from .errors import FieldViolation, InvalidArgumentError, OverloadedError, UnauthenticatedError
from .settings import Duration, Section

Transport = Literal["http", "grpc"]

TRACE_DIGITS, DIGITS = 32, 48  # of a trace id, and together with a span id
CALLS_AT_ONCE = 64

GRPC_TIMEOUT = "grpc-timeout"
TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")  # gRPC over HTTP/2, "Requests", rule Timeout
SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

EARLY_S = 0.002  # uvloop counts in milliseconds, so its timers may fire a little early
STEP_S = 0.005  # how exact it is once many wait

Headers = Mapping[str, str]  # by lower-case name

REQUEST_ID = "x-request-id"
TRACE_ID = "x-trace-id"
LONGEST_REQUEST_ID = 128  # characters; a longer one is not the caller's to choose


class Call:
    """Filled in by the edge of its transport; ids are lower-case hex, durations nanoseconds.

    `method` is HTTP's, or gRPC's `package.Service/Method`; `route` is the template of the path,
    None where no route matched. `code` is from google/rpc/code.proto for both transports, `status`
    is HTTP's, 0 for gRPC. `error` is set only for what nobody foresaw. `deadline` is in the time
    of the running loop; `expires_at`, of what the caller is known by, in seconds since 1970.
    `scope` is ASGI's. `reason` is why a guard has refused it, for the operator, in words that are
    ours. What is the concern of `traces` alone: `span` is the server span, once it has ended,
    `linked` the ids of a caller whose trace the call does not join, `trace_state` W3C's header of
    that name, and `debug` B3's decision that no sampler overrules. What most calls do not need
    stays with the class, as making an object of so much costs each call.
    """

    parent_id: str | None = None
    sampled: bool = False
    debug: bool = False
    request_id: str = ""
    peer: str = ""
    user_agent: str | None = None
    method: str = ""
    route: str | None = None
    path: str = ""
    status: int = 0
    started_ns: int = 0
    started_unix_ns: int = 0
    duration_ns: int = 0
    deadline: float | None = None
    expires_at: float = math.inf
    error: BaseException | None = None
    scope: Mapping[str, Any] | None = None  # holds secrets
    span: object | None = None
    linked: tuple[str, str] | None = None
    trace_state: str | None = None
    reason: str = ""

    def __init__(self, transport: Transport, trace_id: str, span_id: str) -> None:
        self.transport: Transport = transport
        self.trace_id, self.span_id = trace_id, span_id
        self.code = "OK"
        self.received_bytes = self.sent_bytes = 0
        self.principal: object | None = None


current: ContextVar[Call | None] = ContextVar("call", default=None)

Observer = Callable[[Call], None]


def new_ids() -> Iterator[tuple[str, str]]:
    """Yield a trace and a span id for each call; to draw many at once is cheaper."""
    while True:
        drawn = randbytes(CALLS_AT_ONCE * DIGITS // 2).hex()
        for at in range(0, len(drawn), DIGITS):
            yield drawn[at : at + TRACE_DIGITS], drawn[at + TRACE_DIGITS : at + DIGITS]


class CallSettings(Section):
    """Bounds of a call, the same on both transports."""

    max_concurrent: Annotated[int, Field(ge=1)] = 1000
    """Unary calls that may run at once; one more is refused with RESOURCE_EXHAUSTED or 503."""

    max_streams: Annotated[int, Field(ge=1)] = 1000
    """Streams that may be open at once; one more is refused in the same way."""

    max_streams_per_client: Annotated[int, Field(ge=1)] = 500
    """Streams that one address may have open at once; all clients behind a proxy are one."""

    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=30)
    """Longest time until a unary call is answered; a caller's own deadline may be shorter."""


class Gate:
    """Counts the calls that run, and refuses one too many."""

    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self.unary: set[Call] = set()
        self.streams: set[Call] = set()
        self._streams_of: Counter[str] = Counter()  # by address

    def admit(self, call: Call) -> None:
        """Let in a unary call, or one that may turn out to be; raises OverloadedError."""
        if len(self.unary) >= self._settings.max_concurrent:
            raise OverloadedError("too many calls at once, try again")
        self.unary.add(call)

    def admit_stream(self, call: Call) -> None:
        """Let in a stream, or turn a call into one; raises OverloadedError."""
        client, most = _client(call), self._settings.max_streams_per_client
        if len(self.streams) >= self._settings.max_streams:
            raise OverloadedError("too many open streams, try again")
        if self._streams_of[client] >= most:
            raise OverloadedError(f"one client may have {most} open streams, try again")
        self.unary.discard(call)
        self._streams_of[client] += call not in self.streams
        self.streams.add(call)

    def leave(self, call: Call) -> None:
        """Forget a call that has ended, admitted or not."""
        self.unary.discard(call)
        if call in self.streams:
            self.streams.remove(call)
            self._forget_stream_of(_client(call))

    def _forget_stream_of(self, client: str) -> None:
        self._streams_of[client] -= 1
        if not self._streams_of[client]:
            del self._streams_of[client]

    def counts(self) -> dict[str, int]:
        """Return how many calls run, by kind."""
        return {"unary": len(self.unary), "stream": len(self.streams)}

    def running(self) -> list[str]:
        """Return the method of every call that runs."""
        return sorted(f"{call.method} {call.path}".strip() for call in self.unary | self.streams)


def _client(call: Call) -> str:
    """Return the address of a peer, which gRPC writes as [::1]:50051 and ASGI as ::1:50051."""
    return call.peer.rpartition(":")[0].strip("[]")


def joined(fields: Iterable[tuple[AnyStr, AnyStr]], comma: AnyStr) -> dict[AnyStr, AnyStr]:
    """Return headers by name; several with one name mean their concatenation (RFC 9110, 5.3)."""
    values: dict[AnyStr, list[AnyStr]] = {}
    for name, value in fields:
        values.setdefault(name, []).append(value)
    return {name: comma.join(several) for name, several in values.items()}


def time_for(header: str | None, longest: float) -> float:
    """Return how long, in seconds, a call is of use; raises InvalidArgumentError.

    `header` is the value of grpc-timeout, `longest` is in seconds.
    """
    if header is None:
        return longest
    match = TIMEOUT.fullmatch(header)
    if match is None:
        wrong = FieldViolation(GRPC_TIMEOUT, "must be up to 8 digits and one of H M S m u n")
        raise InvalidArgumentError("the deadline cannot be read", fields=[wrong])
    return min(longest, int(match[1]) * SECONDS[match[2]])


def expiry(call: Call | None) -> float:
    """Return when a stream ends as its caller is not known any more; infinity is never.

    In the time of the running loop.
    """
    if call is None or call.expires_at == math.inf:
        return math.inf
    return asyncio.get_running_loop().time() + call.expires_at - time.time()


def expired() -> UnauthenticatedError:
    """Return what is said to the caller of such a stream."""
    return UnauthenticatedError("what the caller is known by has expired")


class Sleeper(Protocol):
    """Who wants to be woken."""

    def wake(self) -> None:
        """Do what is due; may set the alarm again."""


class Alarm:
    """One timer of the running loop for all: wakes each sleeper at its time, if not done before."""

    def __init__(self) -> None:
        self._due: dict[Sleeper, float] = {}
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Wake `sleeper` then, and at no other time; infinity is never."""
        self._due[sleeper] = at
        if at < self._rings_at:
            self._ring_at(at)

    def unset(self, sleeper: Sleeper) -> None:
        """Let `sleeper` go without having been woken."""
        self._due.pop(sleeper, None)

    def _ring_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        self._rings_at, self._timer = math.inf, None
        for sleeper in [each for each, at in self._due.items() if at <= now + EARLY_S]:
            self._due[sleeper] = math.inf
            sleeper.wake()
        first = min(self._due.values(), default=math.inf)
        if first < self._rings_at:
            self._ring_at(max(first, now + STEP_S))


@dataclass(frozen=True, slots=True)
class Edge:
    """The parts that the edges of both transports share.

    `join_trace` lets a call join the trace of its caller, for which it needs the headers `reads`;
    `observers` hear of each ended call; `timeout` is the longest time, in seconds, until a unary
    call is answered. The request id of a caller is taken if `takes_request_id` says so.
    """

    join_trace: Callable[[Call, Headers], None]
    reads: Collection[str]
    observers: Sequence[Observer]
    gate: Gate
    alarm: Alarm
    timeout: float
    takes_request_id: bool = True
    ids: Iterator[tuple[str, str]] = field(default_factory=new_ids)

    def open(self, transport: Transport, headers: Headers) -> Call:
        """Return the call that `headers` announce, its clock running."""
        call = Call(transport, *next(self.ids))
        self.join_trace(call, headers)
        call.started_unix_ns = time.time_ns()
        call.started_ns = time.perf_counter_ns()
        request_id = headers.get(REQUEST_ID) if self.takes_request_id else None
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
