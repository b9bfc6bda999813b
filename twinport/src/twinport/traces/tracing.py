"""Tracing of one service: opened before its servers start, closed after they have stopped."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from loguru import logger
from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.propagate import get_global_textmap, set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanKind, set_span_in_context

from ..calls import Call
from ..errors import ResourceExhaustedError
from ..logs.settings import RedactSettings
from ..settings import Identity
from .exporters import make_span_queue
from .propagation import Propagator
from .provider import (
    CallProvider,
    CallSampler,
    EndedSpans,
    below_caller,
    made_global,
    starting_call,
)
from .server_span import is_failure, name_of, server_span
from .settings import TracesSettings, bounds, not_honoured
from .span_queue import Redaction, SpanQueue
from .spans import functions_traced

SCOPE = InstrumentationScope("twinport.traces", "")
UNKEPT = ("OK", ResourceExhaustedError.code)  # to refuse, with its hands full, has to stay cheap


@contextmanager
def tracing(
    settings: TracesSettings, identity: Identity, redact: RedactSettings | None = None
) -> Iterator["Tracing"]:
    """Make the spans of this process ours until the end; raises StartupError."""
    if names := not_honoured(os.environ, settings.exporter):
        logger.warning("traces: set, but without effect here: {}", ", ".join(names))
    os.environ.pop(OTEL_PYTHON_TRACER_PROVIDER, None)  # or it is set when somebody asks for ours
    redaction = Redaction((redact or RedactSettings()).redactor())
    queue = make_span_queue(settings, identity, redaction, bounds(os.environ))
    ours = Tracing(settings, resource_of(identity), queue)
    before = get_global_textmap()
    set_global_textmap(ours.propagator)
    try:
        with made_global(ours.provider), functions_traced(settings.functions):
            yield ours
    finally:
        set_global_textmap(before)
        ours.provider.shutdown()


def resource_of(identity: Identity) -> Resource:
    """Say who sends the spans, by OpenTelemetry's conventions for services and deployments."""
    attributes = {
        "service.name": identity.name,
        "service.version": identity.version,
        "service.instance.id": identity.instance or socket.gethostname(),
        "deployment.environment.name": identity.environment,
    }
    return Resource.create({key: value for key, value in attributes.items() if value})


class Tracing:
    """The parts that trace one service; `propagator` decides about each call when it begins.

    `kept` hears of each call that has left a span.
    """

    def __init__(
        self, settings: TracesSettings, resource: Resource, queue: SpanQueue | None
    ) -> None:
        self._queue, self._spans = queue, EndedSpans(queue)
        self.sampler = CallSampler(settings.sample_ratio)
        self.propagator = Propagator(settings.propagators, self.sampler)
        self.provider = CallProvider(self._spans, self.sampler, resource)
        self._tracer = self.provider.get_tracer(SCOPE.name)
        self._keeps_errors = settings.keep_errors
        self._slow_ns = int(settings.keep_slower_than.total_seconds() * 1e9)
        self.kept: Callable[[Call], None] = _ignored

    def add(self, processor: SpanProcessor) -> None:
        """Show `processor` each span that is complete."""
        self._spans.add(processor)

    def opened(self, call: Call) -> "OpenServerSpan":
        """Start the server span of a sampled gRPC call and keep it the current one."""
        before = otel.get_current()
        starting_call.set(call)
        span = self._tracer.start_span(name_of(call), below_caller(call, before), SpanKind.SERVER)
        starting_call.set(None)  # without an SDK nobody has asked
        otel.attach(set_span_in_context(span, before))
        return OpenServerSpan(span, before)

    def observe(self, call: Call) -> None:
        """Send the server span of a call that was sampled, has failed or was slow; an Observer."""
        is_kept = call.sampled or call.duration_ns > self._slow_ns
        if is_kept or (call.code not in UNKEPT and self._keeps_errors and is_failure(call)):
            self._spans.release(server_span(call, self.provider.resource, SCOPE))
            self.kept(call)

    def dropped(self) -> int:
        """Return how many spans have never reached the backend."""
        return self._queue.lost if self._queue else 0

    async def close(self, seconds: float) -> None:
        """Send what is waiting, for at most `seconds`; later spans are lost."""
        if self._queue is None:
            return
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def note_sent() -> None:
            with suppress(RuntimeError):  # the loop did not wait for us
                loop.call_soon_threadsafe(sent.set)

        self._queue.close(seconds, note_sent)
        try:
            async with asyncio.timeout(seconds):
                await sent.wait()
        except TimeoutError:
            self._queue.give_up()


def _ignored(_: Call) -> None:
    """Nobody wants to hear of calls that leave a span."""


class OpenServerSpan:
    """The server span of a call that is being answered; it may end in any task.

    It leaves when the observers hear of the call's end.
    """

    def __init__(self, span: Span, before: Context) -> None:
        self._span, self._before = span, before

    def __enter__(self) -> None:
        """It was opened when it was made."""

    def __exit__(self, *_: object) -> None:
        self._span.end()
        otel.attach(self._before)  # detaching fails where a generator is closed by another task
