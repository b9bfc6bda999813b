"""Rate, errors and duration of every call, by OpenTelemetry's names in Prometheus' spelling."""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..calls.call import Call
from ..clients.call import ClientCall
from .histogram import MANY, Histogram, Key, Series
from .lag import LoopLag
from .settings import MetricsSettings

METHODS = frozenset(HTTPMethod)
OTHER = "_OTHER"  # OpenTelemetry's word for a method that is not known
SIZES = tuple(4**power for power in range(3, 13))  # 64 bytes to 16 MiB
NANOSECONDS = 10**9
HTTP = ("http_request_method", "http_route", "http_response_status_code")
RPC = ("rpc_method", "rpc_response_status_code")
HTTP_CLIENT = ("client", "http_request_method", "http_response_status_code", "error_type")
RPC_CLIENT = ("client", *RPC)
SERVER_TEXT = "Time until a call had ended."
CLIENT_TEXT = "Time until a call to another service had ended, its repetitions included."

Told = tuple[str, str | None, int | str]  # of a call: method, route, status or code
Counts = Callable[[], Mapping[str, int]]


class Readings(NamedTuple):
    """What others count, asked at each scrape: calls that run, by kind; what never arrived."""

    running: Counts
    dropped_lines: Counts
    dropped_spans: Callable[[], int]


class Metrics(Collector):
    """Observes calls, of both transports and in both directions."""

    def __init__(self, settings: MetricsSettings, readings: Readings) -> None:
        bounds = [int(bucket.total_seconds() * NANOSECONDS) for bucket in settings.buckets]
        self._readings, self.lag = readings, LoopLag()
        self._http = _Sides("http_server_request", "body", HTTP, bounds)
        self._rpc = _Sides("rpc_server_call", "message", RPC, bounds)
        name = "http_client_request_duration_seconds"
        self._http_client = Histogram(name, CLIENT_TEXT, HTTP_CLIENT, bounds, NANOSECONDS)
        name = "rpc_client_call_duration_seconds"
        self._rpc_client = Histogram(name, CLIENT_TEXT, RPC_CLIENT, bounds, NANOSECONDS)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, call: Call) -> None:
        """Count a call that has ended; an observer of calls."""
        if call.transport == "grpc":
            self._rpc.observe((call.method, None, call.code), _rpc_labels, call)
        else:
            self._http.observe((call.method, call.route, call.status), _http_labels, call)

    def observe_client(self, call: ClientCall) -> None:
        """Count a call to another service; a ClientObserver."""
        if call.transport == "grpc":
            self._rpc_client.observe((call.client, call.method, call.code), call.duration_ns)
            return
        answer = (str(call.status), "") if call.status else ("", call.code)
        self._http_client.observe((call.client, _known(call.method), *answer), call.duration_ns)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, what the service counts itself included."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield what was observed; called by the registry."""
        yield from self._http.collect()
        yield from self._rpc.collect()
        yield self._http_client.collect()
        yield self._rpc_client.collect()
        yield self._running()
        yield self._dropped_lines()
        text = "Spans that never reached the backend."
        yield CounterMetricFamily("traces_dropped_spans", text, self._readings.dropped_spans())
        yield self.lag.collect()

    def _running(self) -> Metric:
        family = GaugeMetricFamily("server_active_calls", "Calls that run now.", labels=["kind"])
        for kind, count in self._readings.running().items():
            family.add_metric([kind], count)
        return family

    def _dropped_lines(self) -> Metric:
        text = "Log lines that a sink has lost."
        family = CounterMetricFamily("logs_dropped_lines", text, labels=["sink"])
        for sink, count in self._readings.dropped_lines().items():
            family.add_metric([sink], count)
        return family


def _known(method: str) -> str:
    """Return an HTTP method, or one word for all that are none: whoever calls can invent more."""
    return method if method in METHODS else OTHER


def _http_labels(call: Call) -> Key:
    return _known(call.method), call.route or "", str(call.status)


def _rpc_labels(call: Call) -> Key:
    return call.method, call.code


class _Sides:
    """Duration and both sizes of the calls of one transport, found by one look for all three."""

    def __init__(self, name: str, part: str, labels: tuple[str, ...], bounds: list[int]) -> None:
        sizes = f"{part}_size_bytes"
        self._found: dict[Told, tuple[Series, ...]] = {}
        self._all = (
            Histogram(f"{name}_duration_seconds", SERVER_TEXT, labels, bounds, NANOSECONDS),
            Histogram(f"{name}_received_{sizes}", "Bytes that a call received.", labels, SIZES, 1),
            Histogram(f"{name}_sent_{sizes}", "Bytes that a call sent.", labels, SIZES, 1),
        )

    def observe(self, told: Told, labels_of: Callable[[Call], Key], call: Call) -> None:
        """Count `call`, whose labels follow from what is `told` of it."""
        duration, received, sent = self._found.get(told) or self._find(told, labels_of(call))
        duration.latest.append(call.duration_ns)
        received.latest.append(call.received_bytes)
        sent.latest.append(call.sent_bytes)
        if len(sent.latest) >= MANY:
            for series in (duration, received, sent):
                series.count()

    def _find(self, told: Told, labels: Key) -> tuple[Series, ...]:
        series = tuple(each.series(labels) for each in self._all)
        if OTHER not in labels:  # else a caller would choose how much is remembered
            self._found[told] = series
        return series

    def collect(self) -> Iterator[Metric]:
        for histogram in self._all:
            yield histogram.collect()
