"""Outgoing calls to other services, on either transport: deadline, headers, observers, log line."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from loguru import logger
from pydantic import SecretStr

from ..calls import Transport, current
from ..errors import DeadlineExceededError, ServiceError, UnavailableError, row_of
from .settings import ClientSettings

REQUEST_ID = "x-request-id"
NEUTRAL = {  # for what a library says by itself, which names hosts and addresses
    UnavailableError: "{} is not available",
    DeadlineExceededError: "{} did not answer in time",
}


@dataclass(slots=True, eq=False)
class ClientCall:
    """A call to another service, filled in while it runs; `duration_ns` is known at its end.

    `client` is the name in the settings, `method` is HTTP's or gRPC's `package.Service/Method`,
    `code` is from google/rpc/code.proto for both transports, `status` is HTTP's, 0 for gRPC or
    where no answer came. `timeout_s` is how long the call might take. The bytes are those of all
    messages of gRPC, or of all bodies of HTTP, where a call that is tried again has several.
    """

    client: str
    transport: Transport
    method: str
    timeout_s: float
    is_stream: bool = False
    status: int = 0
    code: str = "OK"
    started_ns: int = field(default_factory=time.perf_counter_ns)
    duration_ns: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0

    def has_received(self, size: int) -> None:
        """Count what has come, in bytes."""
        self.received_bytes += size

    def has_sent(self, size: int) -> None:
        """Count what was handed on, in bytes."""
        self.sent_bytes += size


ClientObserver = Callable[[ClientCall], None]


class Outgoing:
    """The edge of the calls of one client: bounds and observes them.

    `name` is its section of the settings.
    """

    def __init__(
        self, name: str, settings: ClientSettings, observers: Sequence[ClientObserver]
    ) -> None:
        self.name, self.settings = name, settings
        self._observers = observers

    @property
    def tls_section(self) -> str:
        """Where the settings speak of its TLS."""
        return f"clients.{self.name}.tls"

    def open(
        self, transport: Transport, method: str, wish_s: float | None, *, is_stream: bool = False
    ) -> ClientCall:
        """Return a call with its time limit; raises DeadlineExceededError if none is left.

        `wish_s` is how long the code that calls would wait; None leaves it to the settings.
        """
        if wish_s is None:
            limit = self.settings.stream_deadline if is_stream else self.settings.deadline
            wish_s = limit.total_seconds()
        call = ClientCall(self.name, transport, method, _within_incoming(wish_s), is_stream)
        if call.timeout_s <= 0:
            call.code = DeadlineExceededError.code
            self._end(call)
            raise DeadlineExceededError(f"no time is left to call {self.name}")
        return call

    def headers(self) -> dict[str, str]:
        """Return the headers that come from the incoming call: its request id, and its token."""
        call = current.get()
        token: SecretStr | None = getattr(call and call.principal, "token", None)
        headers = {REQUEST_ID: call.request_id} if call and call.request_id else {}
        if token is not None and self.settings.forward_token:
            headers["authorization"] = f"Bearer {token.get_secret_value()}"
        return headers

    @contextmanager
    def observed(self, call: ClientCall) -> Iterator[None]:
        """Note how `call` ends, and tell the observers."""
        try:
            with noted(call):
                yield
        finally:
            self._end(call)

    def _end(self, call: ClientCall) -> None:
        call.duration_ns = time.perf_counter_ns() - call.started_ns
        for observe in self._observers:
            observe(call)


@contextmanager
def noted(call: ClientCall) -> Iterator[None]:
    """Note what makes `call` fail, for whoever is told later that it has ended."""
    try:
        yield
    except BaseException as error:
        if call.code == "OK":
            call.code = _code(error)
        raise


def neutral(kind: type[ServiceError], client: str) -> ServiceError:
    """Return an error whose text tells nothing of what is behind `client`."""
    return kind(NEUTRAL.get(kind, "internal error").format(client))


def log(call: ClientCall) -> None:
    """Log a call that has ended; a ClientObserver."""
    fields = {"event.duration": call.duration_ns, "rpc.method": call.method}
    line = "called {} {}: {} after {:.1f} ms"
    level = row_of(call.code).client_level
    duration_ms = call.duration_ns / 1e6
    logger.bind(**fields).log(level, line, call.client, call.method, call.code, duration_ms)


def _within_incoming(seconds: float) -> float:
    call = current.get()
    if call is None or call.deadline is None:
        return seconds
    return min(seconds, call.deadline - asyncio.get_running_loop().time())


def _code(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    return error.code if isinstance(error, ServiceError) else "UNKNOWN"
