"""The span of a call that this service has answered, written when the call has ended."""

import traceback
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, Status, StatusCode

from ..calls.call import Call
from .provider import context_of
from .server_attributes import attributes_of, is_failure, name_of

UNREDACTED = "url.query"  # instrumentation sets it as it came, secrets included
RECORDED = "recorded_in_span"  # in the __dict__ of an exception that some span tells already


def server_span(call: Call, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Return the one span of `call`; what handlers added to a span that was open is kept."""
    opened = call.span if isinstance(call.span, ReadableSpan) else None
    parent = call.parent_id
    return ReadableSpan(
        name=name_of(call),
        context=context_of(call, call.span_id, is_remote=False),
        parent=None if parent is None else context_of(call, parent, is_remote=True),
        resource=resource,
        attributes=_attributes(call, opened),
        events=_events(call, opened),
        links=opened.links if opened else (),
        kind=SpanKind.SERVER,
        status=_status(call),
        start_time=call.started_unix_ns,
        end_time=call.started_unix_ns + call.duration_ns,
        instrumentation_scope=scope,
    )


def exception_event(error: BaseException, timestamp: int) -> Event:
    """Return the event of OpenTelemetry's conventions; `timestamp` in nanoseconds since 1970."""
    module, name = type(error).__module__, type(error).__qualname__
    told = {
        "exception.type": name if module == "builtins" else f"{module}.{name}",
        "exception.message": str(error),
        "exception.stacktrace": "".join(traceback.format_exception(error)),
    }
    return Event("exception", told, timestamp)


def record_first(error: BaseException) -> bool:
    """Tell whether no span has this exception as an event yet; from now on one has."""
    notes = vars(error)
    is_first = RECORDED not in notes
    notes[RECORDED] = True
    return is_first


def _attributes(call: Call, opened: ReadableSpan | None) -> Mapping[str, Any]:
    known = attributes_of(call)
    told = opened.attributes if opened else None
    if told is None:
        return known
    return known | {name: told[name] for name in told if name not in known and name != UNREDACTED}


def _events(call: Call, opened: ReadableSpan | None) -> list[Event]:
    """Return what handlers told, and the exception once, however many layers recorded it."""
    told = list(opened.events) if opened else []
    if call.error is None:
        return told
    event = exception_event(call.error, call.started_unix_ns + call.duration_ns)
    told = [other for other in told if not _is_same(event, other)]
    return [*told, event] if record_first(call.error) else told


def _is_same(event: Event, other: Event) -> bool:
    ours, theirs = event.attributes or {}, other.attributes or {}
    same = ("exception.type", "exception.message")
    return other.name == event.name and all(ours[key] == theirs.get(key) for key in same)


def _status(call: Call) -> Status:
    if not is_failure(call):
        return Status(StatusCode.UNSET)
    if call.error is None:
        return Status(StatusCode.ERROR, call.code)
    return Status(StatusCode.ERROR, f"{type(call.error).__name__}: {call.error}")
