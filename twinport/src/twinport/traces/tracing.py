"""Tracing of one service: opened before its servers start, closed after they have stopped."""

import asyncio
import os
from collections.abc import Iterator, Mapping, MutableMapping
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

from ..calls.call import Call, Transport
from ..logs.settings import RedactSettings
from ..settings import Identity
from .exporters import make_span_queue
from .propagation import Propagator
from .provider import Spans, above, in_force, make_provider, opening, resource_of
from .server_span import is_failure, is_refusal, name_of, server_span
from .settings import TracesSettings, bounds, not_honoured
from .span_queue import Redaction, SpanQueue
from .spans import automatic
from .trace_context import Decision

BAGGAGE = "baggage"
SCOPE = InstrumentationScope("twinport.traces", "")


class Opened:
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


class Tracing:
    """Decides about each call when it begins, and sees to its server span when it has ended."""

    def __init__(
        self, settings: TracesSettings, resource: Resource, queue: SpanQueue | None
    ) -> None:
        self._decision = Decision(settings.sample_ratio, settings.propagators)
        self._spans = Spans()
        self._queue = queue
        if queue is not None:
            self._spans.add(queue)
        self.provider = make_provider(resource, self._decision, self._spans)
        self.propagator = Propagator(self._decision, settings.propagators)
        self._tracer = self.provider.get_tracer(SCOPE.name)
        self._keeps_errors = settings.keep_errors
        self._slow_ns = settings.keep_slower_than.total_seconds() * 1e9

    @property
    def reads(self) -> frozenset[str]:
        """The headers, in lower case, that `begin` has to be given."""
        return self._decision.reads | {BAGGAGE}

    def begin(self, transport: Transport, headers: Mapping[str, str]) -> Call:
        """Return the call that these headers, by lower-case name, announce."""
        if BAGGAGE in headers:
            carried = self.propagator.luggage(headers.get, Context())
            if carried:  # each call has a task of its own, so nobody else sees this context
                otel.attach(carried)
        return self._decision.begin(transport, headers)

    def opened(self, call: Call) -> Opened:
        """Start the server span of a sampled gRPC call and keep it the current one."""
        before = otel.get_current()
        opening.set(call)
        span = self._tracer.start_span(name_of(call), above(call, before), SpanKind.SERVER)
        opening.set(None)  # without an SDK nobody has asked
        otel.attach(set_span_in_context(span, before))
        return Opened(span, before)

    def leave_late_span(self, call: Call) -> None:
        """Send the server span of a call that was sampled, has failed or was slow; an Observer."""
        kept = call.sampled or call.duration_ns > self._slow_ns
        if kept or (call.code != "OK" and self._keeps(call)):
            self._spans.release(server_span(call, self.provider.resource, SCOPE))

    def _keeps(self, call: Call) -> bool:
        return self._keeps_errors and is_failure(call) and not is_refusal(call)

    def inject(self, headers: MutableMapping[str, str]) -> None:
        """Add what the next service is told, also that nothing is traced."""
        headers.update(self.propagator.outgoing())

    def add(self, processor: SpanProcessor) -> None:
        """Show `processor` each span that is complete."""
        self._spans.add(processor)

    def set_sample_ratio(self, ratio: float) -> None:
        """Trace this part of the calls from now on, 0 to 1."""
        self._decision.set_ratio(ratio)

    def dropped(self) -> int:
        """Return how many spans have never reached the backend."""
        return self._queue.lost if self._queue else 0

    async def close(self, seconds: float) -> None:
        """Send what is waiting, for at most `seconds`; later spans are lost."""
        if self._queue is None:
            return
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop did not wait for us
                loop.call_soon_threadsafe(sent.set)

        self._queue.close(seconds, tell)
        try:
            async with asyncio.timeout(seconds):
                await sent.wait()
        except TimeoutError:
            self._queue.give_up()


@contextmanager
def tracing(
    settings: TracesSettings, identity: Identity, redact: RedactSettings | None = None
) -> Iterator[Tracing]:
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
        with in_force(ours.provider), automatic(settings.functions):
            yield ours
    finally:
        set_global_textmap(before)
        ours.provider.shutdown()
