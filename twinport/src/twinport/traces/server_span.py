"""The server span of a call, by OpenTelemetry's conventions for HTTP and RPC."""

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode

from .. import errors
from ..calls import Call
from .provider import DEBUG, span_context

Attributes = dict[str, Any]

METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
OTHER = "_OTHER"
PORTS = {"http": 80, "https": 443}
UNREDACTED = "url.query"  # instrumentation sets it as it came, secrets included
RECORDED = "recorded_in_span"  # in the __dict__ of an exception that is an event of some span


def server_span(call: Call, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Return the one span of `call`; what handlers added to a span that was open is kept."""
    opened = call.span if isinstance(call.span, ReadableSpan) else None
    parent = call.parent_id
    return ReadableSpan(
        name=name_of(call),
        context=span_context(call, call.span_id, is_remote=False),
        parent=None if parent is None else span_context(call, parent, is_remote=True),
        resource=resource,
        attributes=_attributes(call, opened),
        events=_events(call, opened),
        links=[*(opened.links if opened else ()), *_links(call)],
        kind=SpanKind.SERVER,
        status=_status(call),
        start_time=call.started_unix_ns,
        end_time=call.started_unix_ns + call.duration_ns,
        instrumentation_scope=scope,
    )


def _links(call: Call) -> Iterator[Link]:
    if call.linked is not None:
        trace_id, span_id = (int(each, 16) for each in call.linked)
        yield Link(SpanContext(trace_id, span_id, is_remote=True))


def is_failure(call: Call) -> bool:
    """Tell whether the service failed; a caller's own mistake is none."""
    return errors.is_failure(call.code, call.status)


def name_of(call: Call) -> str:
    """Return a name of low cardinality: method and route, or the gRPC method."""
    if call.transport == "grpc":
        return call.method
    method = call.method if call.method in METHODS else "HTTP"
    return method if call.route is None else f"{method} {call.route}"


def _status(call: Call) -> Status:
    if not is_failure(call):
        return Status(StatusCode.UNSET)
    if call.error is None:
        return Status(StatusCode.ERROR, call.code)
    return Status(StatusCode.ERROR, f"{type(call.error).__name__}: {call.error}")


def _attributes(call: Call, opened: ReadableSpan | None) -> Attributes:
    ours = _http(call) if call.transport == "http" else _rpc(call)
    address, _, port = call.peer.rpartition(":")
    ours[DEBUG] = call.debug or None
    ours["client.address"] = address.strip("[]") or None
    ours["client.port"] = int(port) if port.isdecimal() and port != "0" else None
    ours = {name: value for name, value in ours.items() if value is not None}
    theirs = opened.attributes if opened else None
    if theirs is None:
        return ours
    return ours | {n: theirs[n] for n in theirs if n not in ours and n != UNREDACTED}


def _http(call: Call) -> Attributes:
    is_known = call.method in METHODS
    return {
        "http.request.method": call.method if is_known else OTHER,
        "http.request.method_original": None if is_known else call.method,
        "http.route": call.route,
        "http.response.status_code": call.status or None,
        "error.type": str(call.status or call.code) if is_failure(call) else None,
        "url.path": call.path,
        "user_agent.original": call.user_agent,
        **(_server(call.scope) if call.scope else {}),
    }


def _rpc(call: Call) -> Attributes:
    return {
        "rpc.system.name": "grpc",
        "rpc.method": call.method,
        "rpc.response.status_code": call.code,
        "error.type": call.code if is_failure(call) else None,
    }


def _server(scope: Mapping[str, Any]) -> Attributes:
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


def _events(call: Call, opened: ReadableSpan | None) -> list[Event]:
    """Return those of handlers, and the exception once, however many layers recorded it."""
    events = list(opened.events) if opened else []
    if call.error is None:
        return events
    event = _exception_event(call.error, call.started_unix_ns + call.duration_ns)
    events = [other for other in events if not _is_same(event, other)]
    return [*events, event] if record_first(call.error) else events


def record_first(error: BaseException) -> bool:
    """Tell whether no span has this exception as an event yet; from now on one has."""
    is_first = RECORDED not in vars(error)
    vars(error)[RECORDED] = True
    return is_first


def _exception_event(error: BaseException, timestamp: int) -> Event:
    """Return the event of OpenTelemetry's conventions; `timestamp` in nanoseconds since 1970."""
    module, name = type(error).__module__, type(error).__qualname__
    attributes = {
        "exception.type": name if module == "builtins" else f"{module}.{name}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }
    return Event(name="exception", attributes=attributes, timestamp=timestamp)


def _is_same(event: Event, other: Event) -> bool:
    ours, theirs = event.attributes or {}, other.attributes or {}
    same = ("exception.type", "exception.message")
    return other.name == event.name and all(ours[key] == theirs.get(key) for key in same)
