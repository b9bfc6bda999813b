"""Rate, errors and duration of every call, by OpenTelemetry's names in Prometheus' spelling."""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..calls.call import Call
from .histogram import Histogram
from .lag import LoopLag
from .settings import MetricsSettings

METHODS = frozenset(HTTPMethod)
OTHER = "_OTHER"  # OpenTelemetry's word for a method that is not known
SIZES = tuple(4**power for power in range(3, 13))  # 64 bytes to 16 MiB
NANOSECONDS = 10**9
HTTP = ("http_request_method", "http_route", "http_response_status_code")
RPC = ("rpc_method", "rpc_response_status_code")

Running = Callable[[], Mapping[str, int]]


class Metrics(Collector):
    """Observes calls; `running` tells how many there are now, by kind."""

    def __init__(self, settings: MetricsSettings, running: Running) -> None:
        bounds = [int(bucket.total_seconds() * NANOSECONDS) for bucket in settings.buckets]
        self._running, self.lag = running, LoopLag()
        self._http = _Sides("http_server_request", "body", HTTP, bounds)
        self._rpc = _Sides("rpc_server_call", "message", RPC, bounds)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, call: Call) -> None:
        """Count a call that has ended; an observer of calls."""
        if call.transport == "grpc":
            self._rpc.observe((call.method, call.code), call)
            return
        method = call.method if call.method in METHODS else OTHER
        self._http.observe((method, call.route or "", str(call.status)), call)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, what the service counts itself included."""
        return generate_latest(self._registry) + generate_latest(REGISTRY)

    def collect(self) -> Iterator[Metric]:
        """Yield what was observed; called by the registry."""
        yield from self._http.collect()
        yield from self._rpc.collect()
        running = GaugeMetricFamily("server_active_calls", "Calls that run now.", labels=["kind"])
        for kind, count in self._running().items():
            running.add_metric([kind], count)
        yield running
        yield self.lag.collect()


class _Sides:
    """Duration and both sizes of the calls of one transport."""

    def __init__(self, name: str, part: str, labels: tuple[str, ...], bounds: list[int]) -> None:
        self._duration = Histogram(
            f"{name}_duration_seconds", "Time until a call had ended.", labels, bounds, NANOSECONDS
        )
        self._received = Histogram(
            f"{name}_received_{part}_size_bytes", "Bytes that a call received.", labels, SIZES, 1
        )
        self._sent = Histogram(
            f"{name}_sent_{part}_size_bytes", "Bytes that a call sent.", labels, SIZES, 1
        )

    def observe(self, key: tuple[str, ...], call: Call) -> None:
        self._duration.observe(key, call.duration_ns)
        self._received.observe(key, call.received_bytes)
        self._sent.observe(key, call.sent_bytes)

    def collect(self) -> Iterator[Metric]:
        yield self._duration.collect()
        yield self._received.collect()
        yield self._sent.collect()
