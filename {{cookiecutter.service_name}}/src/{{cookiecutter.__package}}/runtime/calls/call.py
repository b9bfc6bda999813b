"""One call that the service is answering, as logs, metrics and traces see it."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Literal

Transport = Literal["http", "grpc"]


class Call:
    """Filled in by the edge of its transport; ids are lower-case hex, durations nanoseconds.

    `method` is HTTP's, or gRPC's `package.Service/Method`; `route` is the template of the path,
    None where no route matched. `code` is from google/rpc/code.proto for both transports, `status`
    is HTTP's, 0 for gRPC. `error` is set only for what nobody foresaw. `deadline` is in the time
    of the running loop. `scope` is ASGI's. `span` is the server span, once it has ended, and
    `trace_state` W3C's header of that name: both are the concern of `traces` alone.
    """

    __slots__ = (
        "code",
        "deadline",
        "duration_ns",
        "error",
        "method",
        "parent_id",
        "path",
        "peer",
        "principal",
        "received_bytes",
        "request_id",
        "route",
        "sampled",
        "scope",
        "sent_bytes",
        "span",
        "span_id",
        "started_ns",
        "started_unix_ns",
        "status",
        "trace_id",
        "trace_state",
        "transport",
        "user_agent",
    )

    def __init__(self, transport: Transport, trace_id: str, span_id: str) -> None:
        self.transport: Transport = transport
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id: str | None = None
        self.sampled = False
        self.request_id = trace_id
        self.peer = ""
        self.user_agent: str | None = None
        self.method = ""
        self.route: str | None = None
        self.path = ""
        self.status = 0
        self.code = "OK"
        self.started_ns = 0
        self.started_unix_ns = 0
        self.duration_ns = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.deadline: float | None = None
        self.principal: object | None = None
        self.error: BaseException | None = None
        self.scope: Mapping[str, Any] | None = None
        self.span: object | None = None
        self.trace_state: str | None = None


Observer = Callable[[Call], None]

current: ContextVar[Call | None] = ContextVar("call", default=None)
