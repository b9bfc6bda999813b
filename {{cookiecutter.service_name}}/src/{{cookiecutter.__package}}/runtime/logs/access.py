"""The one line that every finished call leaves, with the same fields on both transports."""

from collections.abc import Mapping
from typing import Any

from ..calls.call import Call
from .redact import without_tokens

LOGGER = "access"
WARNINGS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"})
ERRORS = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS"})
INFO, WARNING, ERROR = ("INFO", 20), ("WARNING", 30), ("ERROR", 40)
LEVELS: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(WARNINGS, WARNING),
    **dict.fromkeys(ERRORS, ERROR),
}


def level_of(call: Call) -> tuple[str, int]:
    """Return the level of the line: ERROR is for what somebody has to mend."""
    return LEVELS.get(call.code, INFO)


def message_of(call: Call) -> str:
    """Return what was called, how it ended and how long it took."""
    took = f"{call.duration_ns / 1e6:.1f} ms"
    if call.transport == "http":
        return f"{call.method} {without_tokens(call.path)} {call.status} {took}"
    return f"{call.method} {call.code} {took}"


def fields_of(call: Call) -> dict[str, Any]:
    """Return the fields by their names in ECS, and where it has none, in OpenTelemetry."""
    address, _, port = call.peer.rpartition(":")
    fields = {
        "trace.id": call.trace_id,
        "span.id": call.span_id,
        "event.action": f"{call.method} {call.route}" if call.route else call.method,
        "event.duration": call.duration_ns,
        "event.outcome": "failure" if call.code in LEVELS else "success",
        "http.request.id": call.request_id,
        "http.request.body.bytes": call.received_bytes,
        "http.response.body.bytes": call.sent_bytes,
        "client.address": address.strip("[]") or call.peer,
        "client.port": int(port) if port.isdigit() else None,
        "user_agent.original": call.user_agent,
    }
    fields |= _http(call) if call.transport == "http" else _grpc(call)
    if call.principal is not None:
        fields["user.name"] = str(call.principal)
    return fields


def _http(call: Call) -> dict[str, Any]:
    return {
        "network.protocol": "http",
        "http.request.method": call.method,
        "http.response.status_code": call.status,
        "http.route": call.route,
        "url.path": without_tokens(call.path),
        "rpc.response.status_code": call.code,
    }


def _grpc(call: Call) -> dict[str, Any]:
    return {
        "network.protocol": "grpc",
        "rpc.system.name": "grpc",
        "rpc.method": call.method,
        "rpc.response.status_code": call.code,
    }
