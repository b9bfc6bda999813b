"""Rate, errors and duration of every call, by OpenTelemetry's names in Prometheus' spelling."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..calls.call import Call
from ..clients.call import ClientCall
from .lag import LoopLag
from .settings import MetricsSettings
from .sides import NANOSECONDS, http_client, http_server, rpc_client, rpc_server

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
        self._http, self._http_client = http_server(bounds), http_client(bounds)
        self._rpc, self._rpc_client = rpc_server(bounds), rpc_client(bounds)
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
        for sides in (self._http, self._rpc, self._http_client, self._rpc_client):
            yield from sides.collect()
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
