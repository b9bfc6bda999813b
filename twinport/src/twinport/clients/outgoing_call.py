"""One call to another service, on either transport: when it begins, when it ends, its log line."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from loguru import logger
from pydantic import SecretStr

from ..calls.call import Transport, current
from ..errors import DeadlineExceededError, ServiceError, row_of
from .settings import ClientSettings


@dataclass(slots=True, eq=False)
class ClientCall:
    """Filled in while the call runs; `duration_ns` is known when it has ended.

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


def tell(observers: Sequence[ClientObserver], call: ClientCall) -> None:
    """Tell everybody that `call` has ended."""
    call.duration_ns = time.perf_counter_ns() - call.started_ns
    for observe in observers:
        observe(call)


REQUEST_ID = "x-request-id"


class Outgoing:
    """Bounds and observes the calls of one client; `name` is its section of the settings."""

    def __init__(
        self, name: str, settings: ClientSettings, observers: Sequence[ClientObserver]
    ) -> None:
        self.name, self.settings = name, settings
        self._observers = observers

    def open(
        self,
        transport: Transport,
        method: str,
        wished_s: float | None,
        *,
        is_stream: bool = False,
    ) -> ClientCall:
        """Return a call with its time limit; raises DeadlineExceededError if none is left.

        `wished_s` is how long the code that calls would wait; None leaves it to the settings.
        """
        settings = self.settings
        longest = settings.stream_deadline if is_stream else settings.deadline
        timeout_s = _within_incoming(_seconds(longest) if wished_s is None else wished_s)
        call = ClientCall(self.name, transport, method, timeout_s, is_stream)
        if timeout_s <= 0:
            call.code = DeadlineExceededError.code
            tell(self._observers, call)
            raise DeadlineExceededError(f"no time is left to call {self.name}")
        return call

    def headers(self) -> dict[str, str]:
        """Return what the other service is told of the incoming call."""
        call = current.get()
        token: SecretStr | None = getattr(call and call.principal, "token", None)
        told = {REQUEST_ID: call.request_id} if call and call.request_id else {}
        if token is not None and self.settings.forward_token:
            told["authorization"] = f"Bearer {token.get_secret_value()}"
        return told

    @contextmanager
    def observed(self, call: ClientCall) -> Iterator[None]:
        """Note how `call` ends, and tell the observers."""
        try:
            with noted(call):
                yield
        finally:
            tell(self._observers, call)


@contextmanager
def noted(call: ClientCall) -> Iterator[None]:
    """Note what makes `call` fail, for whoever is told later that it has ended."""
    try:
        yield
    except BaseException as error:
        if call.code == "OK":
            call.code = _code(error)
        raise


def _within_incoming(seconds: float) -> float:
    call = current.get()
    if call is None or call.deadline is None:
        return seconds
    return min(seconds, call.deadline - asyncio.get_running_loop().time())


def _code(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "CANCELLED"
    return error.code if isinstance(error, ServiceError) else "UNKNOWN"


def _seconds(duration: timedelta) -> float:
    return duration.total_seconds()


def log(call: ClientCall) -> None:
    """Log a call that has ended; a ClientObserver."""
    told = {"event.duration": call.duration_ns, "rpc.method": call.method}
    line = "called {} {}: {} after {:.1f} ms"
    level = row_of(call.code).client_level
    logger.bind(**told).log(level, line, call.client, call.method, call.code, _ms(call))


def _ms(call: ClientCall) -> float:
    return call.duration_ns / 1e6
