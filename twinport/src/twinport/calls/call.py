"""The record of one call that the service is answering, for logs, metrics and traces."""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from random import randbytes
from typing import Any, Literal

Transport = Literal["http", "grpc"]


class Call:
    """Filled in by the edge of its transport; ids are lower-case hex, durations nanoseconds.

    `method` is HTTP's, or gRPC's `package.Service/Method`; `route` is the template of the path,
    None where no route matched. `code` is from google/rpc/code.proto for both transports, `status`
    is HTTP's, 0 for gRPC. `error` is set only for what nobody foresaw. `deadline` is in the time
    of the running loop. `scope` is ASGI's. `span` is the server span, once it has ended, and
    `trace_state` W3C's header of that name: both are the concern of `traces` alone. What most
    calls do not need stays with the class, as making an object of so much costs each call.
    """

    parent_id: str | None = None
    sampled: bool = False
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
    error: BaseException | None = None
    scope: Mapping[str, Any] | None = None  # holds secrets
    span: object | None = None
    trace_state: str | None = None

    def __init__(self, transport: Transport, trace_id: str, span_id: str) -> None:
        self.transport: Transport = transport
        self.trace_id, self.span_id = trace_id, span_id
        self.code = "OK"
        self.received_bytes = self.sent_bytes = 0
        self.principal: object | None = None


current: ContextVar[Call | None] = ContextVar("call", default=None)

Observer = Callable[[Call], None]

TRACE_DIGITS, DIGITS = 32, 48  # of a trace id, and together with a span id
CALLS_AT_ONCE = 64


def new_ids() -> Iterator[tuple[str, str]]:
    """Yield a trace and a span id for each call; to draw many at once is cheaper."""
    while True:
        drawn = randbytes(CALLS_AT_ONCE * DIGITS // 2).hex()
        for at in range(0, len(drawn), DIGITS):
            yield drawn[at : at + TRACE_DIGITS], drawn[at + TRACE_DIGITS : at + DIGITS]
