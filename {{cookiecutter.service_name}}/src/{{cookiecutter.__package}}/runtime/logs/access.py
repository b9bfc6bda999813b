"""The one line that every finished call leaves, with the same fields on both transports.

It goes past loguru, and its JSON is put together in one step: it is the dearest part of watching a
call.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ..calls.call import Call
from .line import Line
from .redact import without_tokens

LOGGER = "access"


class Outcome(NamedTuple):
    """How a call ended, in the words of the log."""

    level: str
    level_no: int
    written_level: str
    outcome: str


FINE = Outcome("INFO", 20, "info", "success")  # also what is the caller's own mistake
WARNING = Outcome("WARNING", 30, "warning", "failure")
ERROR = Outcome("ERROR", 40, "error", "failure")
OUTCOMES: Mapping[str, Outcome] = {
    **dict.fromkeys(("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"), WARNING),
    **dict.fromkeys(("UNKNOWN", "INTERNAL", "DATA_LOSS"), ERROR),
}


def level_no_of(call: Call) -> int:
    """Return the number of the line's level: ERROR is for what somebody has to mend."""
    return OUTCOMES.get(call.code, FINE).level_no


def line_of(call: Call, common: bytes) -> Line:
    """Return the line; its fields have the names of ECS, and where it has none, OpenTelemetry's."""
    found = OUTCOMES.get(call.code, FINE)
    now = datetime.now(UTC)
    address, _, port = call.peer.rpartition(":")
    fields: dict[str, Any] = {
        "@timestamp": now,
        "log.level": found.written_level,
        "message": "",  # keeps its place: the first three have an order
        "log.logger": LOGGER,
        "trace.id": call.trace_id,
        "span.id": call.span_id,
        "event.action": f"{call.method} {call.route}" if call.route else call.method,
        "event.code": call.code,
        "event.duration": call.duration_ns,
        "event.outcome": found.outcome,
        "http.request.id": call.request_id,
        "http.request.body.bytes": call.received_bytes,
        "http.response.body.bytes": call.sent_bytes,
        "client.address": address.strip("[]") or call.peer,
        "client.port": int(port) if port.isdecimal() else None,
        "user_agent.original": call.user_agent,
    }
    _add_http(call, fields) if call.transport == "http" else _add_grpc(call, fields)
    if call.principal is not None:
        fields["user.name"] = str(call.principal)
    line = Line(now, found.level, found.level_no, LOGGER, fields["message"], fields)
    line.document, line.common = fields, common
    return line


def _add_http(call: Call, fields: dict[str, Any]) -> None:
    path = without_tokens(call.path)
    fields["message"] = f"{call.method} {path} {call.status}"
    fields["network.protocol"] = "http"
    fields["http.request.method"] = call.method
    fields["http.response.status_code"] = call.status
    fields["http.route"] = call.route
    fields["url.path"] = path


def _add_grpc(call: Call, fields: dict[str, Any]) -> None:
    fields["message"] = f"{call.method} {call.code}"
    fields["network.protocol"] = "grpc"
    fields["rpc.system.name"] = "grpc"
    fields["rpc.method"] = call.method
    fields["rpc.response.status_code"] = call.code
