"""Spans of one's own; in a call that is not traced they cost next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode

from ..calls.call import current
from .server_span import record_first

_tracer = trace.get_tracer("runtime.traces.spans")


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """Show the lines that it encloses as a span of the call under way."""
    call = current.get()
    if call is not None and not call.sampled:
        yield INVALID_SPAN
        return
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield opened
        except Exception as error:
            fail(opened, error)
            raise


def fail(failed: Span, error: Exception) -> None:
    """Mark a span as failed; only the innermost one tells the whole story."""
    kind = type(error).__name__
    failed.set_status(Status(StatusCode.ERROR, f"{kind}: {error}"))
    failed.set_attribute("error.type", kind)
    if record_first(error):
        failed.record_exception(error)
