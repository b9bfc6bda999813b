"""Name and attributes of server spans, by OpenTelemetry's conventions for HTTP and RPC."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..calls.call import Call

Pairs = Iterator[tuple[str, str | int | None]]

METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
OTHER = "_OTHER"
FIRST_SERVER_ERROR = 500
FAILED_CODES = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
PORTS = {"http": 80, "https": 443}


def is_failure(call: Call) -> bool:
    """Tell whether the service failed; a caller's own mistake is none."""
    if call.transport == "http":
        return call.status >= FIRST_SERVER_ERROR
    return call.code in FAILED_CODES


def is_refusal(call: Call) -> bool:
    """Tell whether the service had its hands full; refusing has to stay cheap."""
    return call.code == "RESOURCE_EXHAUSTED"


def name_of(call: Call) -> str:
    """Return a name of low cardinality: method and route, or the gRPC method."""
    if call.transport == "grpc":
        return call.method
    method = call.method if call.method in METHODS else "HTTP"
    return method if call.route is None else f"{method} {call.route}"


def attributes_of(call: Call) -> dict[str, str | int]:
    """Return all that is known about `call`."""
    pairs = _http(call) if call.transport == "http" else _rpc(call)
    return {key: value for key, value in pairs if value is not None}


def _http(call: Call) -> Pairs:
    known = call.method in METHODS
    yield "http.request.method", call.method if known else OTHER
    yield "http.request.method_original", None if known else call.method
    yield "http.route", call.route
    yield "http.response.status_code", call.status or None
    yield "error.type", str(call.status) if is_failure(call) else None
    yield "url.path", call.path
    yield "user_agent.original", call.user_agent
    yield from _client(call)
    if call.scope is not None:
        yield from _server(call.scope)


def _rpc(call: Call) -> Pairs:
    yield "rpc.system.name", "grpc"
    yield "rpc.method", call.method
    yield "rpc.response.status_code", call.code
    yield "error.type", call.code if is_failure(call) else None
    yield from _client(call)


def _client(call: Call) -> Pairs:
    address, _, port = call.peer.rpartition(":")
    yield "client.address", address.strip("[]") or None
    yield "client.port", int(port) if port.isdecimal() else None


def _server(scope: Mapping[str, Any]) -> Pairs:
    """Yield what the caller asked for, else where the server listens."""
    yield "url.scheme", scope["scheme"]
    yield "network.protocol.version", scope["http_version"]
    host, port = _host(scope)
    yield "server.address", host
    yield "server.port", port


def _host(scope: Mapping[str, Any]) -> tuple[str | None, int | None]:
    header = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not header:
        return tuple(scope.get("server") or (None, None))
    bracketed, _, port = header.rpartition(":") if not header.endswith("]") else (header, "", "")
    if not port.isdecimal():
        return header.strip("[]"), PORTS.get(scope["scheme"])
    return bracketed.strip("[]"), int(port)
