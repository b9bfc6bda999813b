"""Spans of one's own; in a call that is not traced they cost next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode

from ..calls.call import current
from ..errors import ServiceError, is_failure
from .in_force import ProviderInForce
from .server_span import record_first
from .steps import Inside

_tracer = ProviderInForce().get_tracer("twinport.traces")


def is_traced() -> bool:
    """Tell whether spans are of use here: not in a call that was not sampled."""
    call = current.get()
    return call is None or call.sampled


def start(name: str, attributes: dict[str, Any]) -> Span:
    """Start a span below the current one; whoever starts it ends it."""
    return _tracer.start_span(name, attributes=attributes)


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Show the lines that it encloses as a span of the call under way.

    `attributes` are text, numbers, bool, or lists of one of them. It yields OpenTelemetry's span,
    for events and further attributes; in a call that is not sampled that of nobody, which takes
    everything and shows nothing. An exception that leaves marks it, unless it is a caller's own.
    """
    if not is_traced():
        yield INVALID_SPAN
        return
    opened = start(name, attributes)
    with ending(opened), Inside(opened).step():
        yield opened


@contextmanager
def ending(opened: Span) -> Iterator[None]:
    """End the span, failed if what it encloses fails."""
    try:
        yield
    except Exception as error:
        fail(opened, error)
        raise
    finally:
        opened.end()


def fail(failed: Span, error: Exception) -> None:
    """Mark a span as failed; an error that is meant for the caller is no failure of ours."""
    if isinstance(error, ServiceError) and not is_failure(error.code, error.status):
        failed.set_attribute("error.type", error.code)
        return
    kind = type(error).__name__
    failed.set_attribute("error.type", kind)
    failed.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))
    if record_first(error):  # the spans around this one need not tell it again
        failed.record_exception(error)
