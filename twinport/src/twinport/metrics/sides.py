"""What is measured of a call, on each side of both transports: the names, and their labels."""

from collections.abc import Callable, Iterator
from http import HTTPMethod
from typing import Generic, TypeVar

from prometheus_client.metrics_core import Metric

from ..calls.call import Call
from ..clients.call import ClientCall
from .histogram import MANY, Histogram, Key, Series

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

AnyCall = TypeVar("AnyCall", Call, ClientCall)


class Sides(Generic[AnyCall]):
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
        """Yield what was observed."""
        for histogram in self._all:
            yield histogram.collect()


def http_server(bounds: list[int]) -> Sides[Call]:
    """Return what is measured of calls over REST; `bounds` of their durations are nanoseconds."""
    return Sides(HTTP_SERVER_NAMES, HTTP, _http_labels, bounds)


def rpc_server(bounds: list[int]) -> Sides[Call]:
    """Return the same of calls over gRPC."""
    return Sides(RPC_SERVER_NAMES, RPC, _rpc_labels, bounds)


def http_client(bounds: list[int]) -> Sides[ClientCall]:
    """Return the same of calls to another service over REST."""
    return Sides(HTTP_CLIENT_NAMES, HTTP_CLIENT, _http_client_labels, bounds)


def rpc_client(bounds: list[int]) -> Sides[ClientCall]:
    """Return the same of calls to another service over gRPC."""
    return Sides(RPC_CLIENT_NAMES, RPC_CLIENT, _rpc_client_labels, bounds)


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
