"""Rate, errors and duration of every call, by OpenTelemetry's names in Prometheus' spelling."""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod
from typing import Generic, NamedTuple, TypeVar

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
Told = tuple[str | int | None, ...]  # what the labels follow from
Counts = Callable[[], Mapping[str, int]]

AnyCall = TypeVar("AnyCall", Call, ClientCall)


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
        self._http = _Sides(HTTP_SERVER_NAMES, HTTP, _http_labels, bounds)
        self._rpc = _Sides(RPC_SERVER_NAMES, RPC, _rpc_labels, bounds)
        self._http_client = _Sides(HTTP_CLIENT_NAMES, HTTP_CLIENT, _http_client_labels, bounds)
        self._rpc_client = _Sides(RPC_CLIENT_NAMES, RPC_CLIENT, _rpc_client_labels, bounds)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, call: Call) -> None:
        """Count a call that has ended; an observer of calls."""
        if call.transport == "grpc":
            self._rpc.observe((call.method, None, call.code), call)
        else:
            self._http.observe((call.method, call.route, call.status), call)

    def observe_client(self, call: ClientCall) -> None:
        """Count a call to another service; a ClientObserver."""
        if call.transport == "grpc":
            self._rpc_client.observe((call.client, call.method, call.code), call)
        else:
            self._http_client.observe((call.client, call.method, call.status, call.code), call)

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


def _http_labels(call: Call) -> Key:
    return _known(call.method), call.route or "", str(call.status)


def _rpc_labels(call: Call) -> Key:
    return call.method, call.code


def _http_client_labels(call: ClientCall) -> Key:
    answer = (str(call.status), "") if call.status else ("", call.code)
    return call.client, _known(call.method), *answer


def _rpc_client_labels(call: ClientCall) -> Key:
    return call.client, call.method, call.code


class _Sides(Generic[AnyCall]):
    """Duration and both sizes of the calls of one transport, found by one look for all three."""

    def __init__(
        self, names: Names, labels: Key, labels_of: Callable[[AnyCall], Key], bounds: list[int]
    ) -> None:
        self._labels_of: Callable[[AnyCall], Key] = labels_of
        self._found: dict[Told, tuple[Series, ...]] = {}
        duration, received, sent = names
        self._all = (
            Histogram(duration, "Time until a call had ended.", labels, bounds, NANOSECONDS),
            Histogram(received, "Bytes that a call received.", labels, SIZES, 1),
            Histogram(sent, "Bytes that a call sent.", labels, SIZES, 1),
        )

    def observe(self, told: Told, call: AnyCall) -> None:
        """Count `call`, whose labels follow from what is `told` of it."""
        duration, received, sent = self._found.get(told) or self._find(told, call)
        duration.latest.append(call.duration_ns)
        received.latest.append(call.received_bytes)
        sent.latest.append(call.sent_bytes)
        if len(sent.latest) >= MANY:
            for series in (duration, received, sent):
                series.count()

    def _find(self, told: Told, call: AnyCall) -> tuple[Series, ...]:
        labels = self._labels_of(call)
        series = tuple(each.series(labels) for each in self._all)
        if OTHER not in labels:  # else a caller would choose how much is remembered
            self._found[told] = series
        return series

    def collect(self) -> Iterator[Metric]:
        for histogram in self._all:
            yield histogram.collect()
