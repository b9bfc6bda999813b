"""Prometheus metrics: rate, errors and duration of each call, and the lag of the event loop."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPMethod
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from ..calls import Call
from ..clients.outgoing_call import ClientCall
from .settings import MetricsSettings

Key = tuple[str, ...]
Bucket = tuple[str, float] | tuple[str, float, Exemplar]

MANY = 500  # values that wait to be counted: a sorted list is counted at once

METHODS = frozenset(HTTPMethod)
OTHER = "_OTHER"  # OpenTelemetry's word for a method that is not known
SIZES = tuple(4**power for power in range(3, 13))  # 64 bytes to 16 MiB
NANOSECONDS = 10**9
HTTP = ("http_request_method", "http_route", "http_response_status_code")
RPC = ("rpc_method", "rpc_response_status_code")
HTTP_CLIENT = ("client", "http_request_method", "http_response_status_code", "error_type")
RPC_CLIENT = ("client", *RPC)
# Of the duration, of what is received and of what is sent. OpenTelemetry has given up its names
# for the sizes of RPC, so these are ours.
HTTP_SERVER_NAMES = (
    "http_server_request_duration_seconds",
    "http_server_request_body_size_bytes",
    "http_server_response_body_size_bytes",
)
HTTP_CLIENT_NAMES = (
    "http_client_request_duration_seconds",
    "http_client_response_body_size_bytes",
    "http_client_request_body_size_bytes",
)
RPC_SERVER_NAMES = (
    "rpc_server_call_duration_seconds",
    "rpc_server_call_received_message_size_bytes",
    "rpc_server_call_sent_message_size_bytes",
)
RPC_CLIENT_NAMES = (
    "rpc_client_call_duration_seconds",
    "rpc_client_call_received_message_size_bytes",
    "rpc_client_call_sent_message_size_bytes",
)

OPENMETRICS, OPENMETRICS_END = "application/openmetrics-text; version=1.0.0", b"# EOF\n"

Names = tuple[str, str, str]
LabelSource = tuple[str | int | None, ...]  # what the labels follow from

AnyCall = TypeVar("AnyCall", Call, ClientCall)

EVERY_S = 0.5

NO_EXEMPLARS: Mapping[int, Exemplar] = {}

Counts = Callable[[], Mapping[str, int]]


class Exemplars:
    """Exemplars: for each bucket of each series the trace of the latest call that left a span."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = sorted(bounds)
        self._latest: dict[tuple[str, ...], dict[int, Exemplar]] = {}

    def note(self, labels: tuple[str, ...], call: Call) -> None:
        """Remember `call` for the bucket of its duration."""
        ended_s = (call.started_unix_ns + call.duration_ns) / NANOSECONDS
        seconds = call.duration_ns / NANOSECONDS
        exemplar = Exemplar({"trace_id": call.trace_id}, seconds, ended_s)
        buckets = self._latest.setdefault(labels, {})
        buckets[bisect_left(self._bounds, call.duration_ns)] = exemplar

    def of(self, labels: tuple[str, ...]) -> Mapping[int, Exemplar]:
        """Return what was noted for a series, by the number of the bucket."""
        return self._latest.get(labels, NO_EXEMPLARS)


class Series:
    """The values of one set of labels, as counts."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self.counts, self.sum = [0] * (len(bounds) + 1), 0
        self._bounds = bounds

    def count(self, latest: Iterable[int]) -> None:
        """Count some values in their buckets."""
        values = sorted(latest)
        self.sum += sum(values)
        ends = [bisect_right(values, bound) for bound in self._bounds]
        for bucket, (start, end) in enumerate(zip([0, *ends], [*ends, len(values)], strict=True)):
            self.counts[bucket] += end - start


class Histogram:
    """Counts whole numbers (nanoseconds, bytes) and is read, in base units, at scrape time."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[int], unit: int
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds, self._unit = tuple(sorted(bounds)), unit
        self._series: dict[Key, Series] = {}
        self.exemplars = Exemplars(bounds)

    def series(self, key: Key) -> Series:
        """Return what has these labels."""
        return self._series.setdefault(key, Series(self._bounds))

    def collect(self) -> HistogramMetricFamily:
        """Return what was counted, as Prometheus wants it: each bucket holds those below it."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        edges = [*(str(bound / self._unit) for bound in self._bounds), "+Inf"]
        for key, series in self._series.items():
            exemplars = self.exemplars.of(key)
            buckets: list[Bucket] = list(zip(edges, accumulate(series.counts), strict=True))
            for number, exemplar in exemplars.items():
                buckets[number] = *buckets[number][:2], exemplar
            family.add_metric(key, buckets, series.sum / self._unit)
        return family


class Latest:
    """What is measured of the latest calls with one set of labels: a value for each series."""

    def __init__(self, series: Sequence[Series]) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self._series = series

    def count(self) -> None:
        """Count the calls."""
        for series, values in zip(self._series, zip(*self.calls, strict=True), strict=False):
            series.count(values)
        self.calls.clear()


class CallMetrics(Generic[AnyCall]):
    """Duration and both sizes of the calls of one transport, found by one look for all three."""

    def __init__(
        self, names: Names, labels: Key, labels_of: Callable[[AnyCall], Key], bounds: list[int]
    ) -> None:
        self._labels_of: Callable[[AnyCall], Key] = labels_of
        self._by_labels: dict[Key, Latest] = {}
        self._by_source: dict[LabelSource, Latest] = {}
        duration, received, sent = names
        self._all = (
            Histogram(duration, "Time until a call had ended.", labels, bounds, NANOSECONDS),
            Histogram(received, "Bytes that a call received.", labels, SIZES, 1),
            Histogram(sent, "Bytes that a call sent.", labels, SIZES, 1),
        )
        self.exemplars = self._all[0].exemplars

    def observe(self, source: LabelSource, call: AnyCall) -> None:
        """Count `call`, whose labels follow from `source`."""
        latest = self._by_source.get(source) or self._find(source, call)
        calls = latest.calls
        calls.append((call.duration_ns, call.received_bytes, call.sent_bytes))
        if len(calls) >= MANY:
            latest.count()

    def _find(self, source: LabelSource, call: AnyCall) -> Latest:
        labels = self._labels_of(call)
        latest = self._by_labels.get(labels)
        if latest is None:
            latest = Latest([each.series(labels) for each in self._all])
            self._by_labels[labels] = latest
        if OTHER not in labels:  # else a caller would choose how much is remembered
            self._by_source[source] = latest
        return latest

    def collect(self) -> Iterator[Metric]:
        """Yield what was observed."""
        for latest in self._by_labels.values():
            latest.count()
        for histogram in self._all:
            yield histogram.collect()


def http_server(bounds: list[int]) -> CallMetrics[Call]:
    """Return what is measured of calls over REST; `bounds` of their durations are nanoseconds."""
    return CallMetrics(HTTP_SERVER_NAMES, HTTP, _http_labels, bounds)


def rpc_server(bounds: list[int]) -> CallMetrics[Call]:
    """Return the same of calls over gRPC."""
    return CallMetrics(RPC_SERVER_NAMES, RPC, _rpc_labels, bounds)


def http_client(bounds: list[int]) -> CallMetrics[ClientCall]:
    """Return the same of calls to another service over REST."""
    return CallMetrics(HTTP_CLIENT_NAMES, HTTP_CLIENT, _http_client_labels, bounds)


def rpc_client(bounds: list[int]) -> CallMetrics[ClientCall]:
    """Return the same of calls to another service over gRPC."""
    return CallMetrics(RPC_CLIENT_NAMES, RPC_CLIENT, _rpc_client_labels, bounds)


def _known_method(method: str) -> str:
    """Return an HTTP method, or one word for all that are none: whoever calls can invent more."""
    return method if method in METHODS else OTHER


def _http_labels(call: Call) -> Key:
    return _known_method(call.method), call.route or "", str(call.status)


def _rpc_labels(call: Call) -> Key:
    return call.method, call.code


def _http_client_labels(call: ClientCall) -> Key:
    answer = (str(call.status), "") if call.status else ("", call.code)
    return call.client, _known_method(call.method), *answer


def _rpc_client_labels(call: ClientCall) -> Key:
    return call.client, call.method, call.code


class LoopLag:
    """Asks to be woken twice a second, and notes how much later that was."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure the running loop from now on."""
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def collect(self) -> GaugeMetricFamily:
        """Return the worst delay since the last time that somebody asked."""
        worst, self._worst = self._worst, 0.0
        text = "Longest delay of the event loop since the last scrape."
        return GaugeMetricFamily("event_loop_lag_seconds", text, value=worst)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + EVERY_S
        self._timer = loop.call_at(due, self._wake, loop, due)

    def _wake(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._worst = max(self._worst, loop.time() - due)
        self._wait(loop)


class Readings(NamedTuple):
    """What others count, asked at each scrape: calls that run, by kind; what never arrived.

    `restarts` are those of tasks in the background, by name.
    """

    running: Counts
    dropped_lines: Counts
    dropped_spans: Callable[[], int]
    restarts: Mapping[str, int]


class Metrics(Collector):
    """Observes calls, of both transports and in both directions."""

    def __init__(self, settings: MetricsSettings, readings: Readings) -> None:
        bounds = [int(bucket.total_seconds() * NANOSECONDS) for bucket in settings.buckets]
        self._readings, self.lag = readings, LoopLag()
        self._http, self._http_client = http_server(bounds), http_client(bounds)
        self._rpc, self._rpc_client = rpc_server(bounds), rpc_client(bounds)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, call: Call) -> None:
        """Count a call that has ended; an observer of calls."""
        if call.transport == "grpc":
            self._rpc.observe((call.method, call.code), call)
        else:
            self._http.observe((call.method, call.route, call.status), call)

    def note_trace(self, call: Call) -> None:
        """Note a call that has left a span, so that a bucket leads to its trace."""
        if call.transport == "grpc":
            self._rpc.exemplars.note(_rpc_labels(call), call)
        else:
            self._http.exemplars.note(_http_labels(call), call)

    def observe_client(self, call: ClientCall) -> None:
        """Count a call to another service; a ClientObserver."""
        if call.transport == "grpc":
            self._rpc_client.observe((call.client, call.method, call.code), call)
        else:
            self._http_client.observe((call.client, call.method, call.status, call.code), call)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, what the service counts itself included."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)

    def render_openmetrics(self) -> bytes:
        """Return the same by OpenMetrics, which has exemplars, and an end."""
        encode, _ = choose_encoder(OPENMETRICS)
        return encode(self._registry).removesuffix(OPENMETRICS_END) + encode(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield what was observed; called by the registry."""
        for metrics in (self._http, self._rpc, self._http_client, self._rpc_client):
            yield from metrics.collect()
        yield self._running()
        yield self._dropped_lines()
        yield self._restarts()
        text = "Spans that never reached the backend."
        yield CounterMetricFamily("traces_dropped_spans", text, self._readings.dropped_spans())
        yield self.lag.collect()

    def _running(self) -> Metric:
        family = GaugeMetricFamily("server_active_calls", "Calls that run now.", labels=["kind"])
        for kind, count in self._readings.running().items():
            family.add_metric([kind], count)
        return family

    def _restarts(self) -> Metric:
        text = "Tasks in the background that have begun anew."
        family = CounterMetricFamily("background_restarts", text, labels=["task"])
        for task, count in self._readings.restarts.items():
            family.add_metric([task], count)
        return family

    def _dropped_lines(self) -> Metric:
        text = "Log lines that a sink has lost."
        family = CounterMetricFamily("logs_dropped_lines", text, labels=["sink"])
        for sink, count in self._readings.dropped_lines().items():
            family.add_metric([sink], count)
        return family
