"""Name and attributes of server spans, by OpenTelemetry's conventions for HTTP and RPC."""

from collections.abc import Mapping
from typing import Any

from .. import errors
from ..calls.call import Call

Known = dict[str, str | int | None]

METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
OTHER = "_OTHER"
PORTS = {"http": 80, "https": 443}


def is_failure(call: Call) -> bool:
    """Tell whether the service failed; a caller's own mistake is none."""
    return errors.is_failure(call.code, call.status)


def is_refusal(call: Call) -> bool:
    """Tell whether the service had its hands full; refusing has to stay cheap."""
    return call.code == errors.ResourceExhaustedError.code


def name_of(call: Call) -> str:
    """Return a name of low cardinality: method and route, or the gRPC method."""
    if call.transport == "grpc":
        return call.method
    method = call.method if call.method in METHODS else "HTTP"
    return method if call.route is None else f"{method} {call.route}"


def attributes_of(call: Call) -> dict[str, str | int]:
    """Return all that is known about `call`."""
    known = _http(call) if call.transport == "http" else _rpc(call)
    address, _, port = call.peer.rpartition(":")
    known["client.address"] = address.strip("[]") or None
    known["client.port"] = int(port) if port.isdecimal() else None
    return {name: value for name, value in known.items() if value is not None}


def _http(call: Call) -> Known:
    known = call.method in METHODS
    told: Known = {
        "http.request.method": call.method if known else OTHER,
        "http.request.method_original": None if known else call.method,
        "http.route": call.route,
        "http.response.status_code": call.status or None,
        "error.type": str(call.status or call.code) if is_failure(call) else None,
        "url.path": call.path,
        "user_agent.original": call.user_agent,
    }
    return told if call.scope is None else told | _server(call.scope)


def _rpc(call: Call) -> Known:
    return {
        "rpc.system.name": "grpc",
        "rpc.method": call.method,
        "rpc.response.status_code": call.code,
        "error.type": call.code if is_failure(call) else None,
    }


def _server(scope: Mapping[str, Any]) -> Known:
    """Return what the caller asked for, else where the server listens."""
    host, port = _host(scope)
    return {
        "url.scheme": scope["scheme"],
        "network.protocol.version": scope["http_version"],
        "server.address": host,
        "server.port": port,
    }


def _host(scope: Mapping[str, Any]) -> tuple[str | None, int | None]:
    header = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    if not header:
        return tuple(scope.get("server") or (None, None))
    bracketed, _, port = header.rpartition(":") if not header.endswith("]") else (header, "", "")
    if not port.isdecimal():
        return header.strip("[]"), PORTS.get(scope["scheme"])
    return bracketed.strip("[]"), int(port)
