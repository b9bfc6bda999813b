"""Rate, errors and duration of every call, by OpenTelemetry's names in Prometheus' spelling."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..calls.call import Call
from ..clients.call import ClientCall
from .histogram import Histogram
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

Names = tuple[str, str, str]
Series = tuple[list[int], ...]  # counts as a Histogram keeps them
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
        self._http = _Sides(HTTP_SERVER_NAMES, HTTP, bounds)
        self._rpc = _Sides(RPC_SERVER_NAMES, RPC, bounds)
        self._http_client = _Sides(HTTP_CLIENT_NAMES, HTTP_CLIENT, bounds)
        self._rpc_client = _Sides(RPC_CLIENT_NAMES, RPC_CLIENT, bounds)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, call: Call) -> None:
        """Count a call that has ended; an observer of calls."""
        if call.transport == "grpc":
            self._rpc.observe((call.method, call.code), call)
            return
        self._http.observe((_known(call.method), call.route or "", str(call.status)), call)

    def observe_client(self, call: ClientCall) -> None:
        """Count a call to another service; a ClientObserver."""
        if call.transport == "grpc":
            self._rpc_client.observe((call.client, call.method, call.code), call)
            return
        answer = (str(call.status), "") if call.status else ("", call.code)
        self._http_client.observe((call.client, _known(call.method), *answer), call)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, what the service counts itself included."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield what was observed; called by the registry."""
        yield from self._http.collect()
        yield from self._rpc.collect()
        yield from self._http_client.collect()
        yield from self._rpc_client.collect()
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


class _Sides:
    """Duration and both sizes of the calls of one transport, found by one look for all three."""

    def __init__(self, names: Names, labels: tuple[str, ...], bounds: list[int]) -> None:
        duration, received, sent = names
        self._series: dict[tuple[str, ...], Series] = {}
        text = "Time until a call had ended."
        self._duration = Histogram(duration, text, labels, bounds, NANOSECONDS)
        text = "Bytes that a call received."
        self._received = Histogram(received, text, labels, SIZES, 1)
        self._sent = Histogram(sent, "Bytes that a call sent.", labels, SIZES, 1)

    def observe(self, key: tuple[str, ...], call: Call | ClientCall) -> None:
        duration, received, sent = self._series.get(key) or self._begin(key)
        duration[bisect_left(self._duration.bounds, call.duration_ns)] += 1
        duration[-1] += call.duration_ns
        received[bisect_left(SIZES, call.received_bytes)] += 1
        received[-1] += call.received_bytes
        sent[bisect_left(SIZES, call.sent_bytes)] += 1
        sent[-1] += call.sent_bytes

    def _begin(self, key: tuple[str, ...]) -> Series:
        series = tuple(each.series(key) for each in (self._duration, self._received, self._sent))
        return self._series.setdefault(key, series)

    def collect(self) -> Iterator[Metric]:
        yield self._duration.collect()
        yield self._received.collect()
        yield self._sent.collect()
