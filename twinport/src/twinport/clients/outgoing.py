"""What both transports do when a call to another service begins and when it ends."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from pydantic import SecretStr

from ..calls.call import Transport, current
from ..errors import DeadlineExceededError, ServiceError
from .call import ClientCall, ClientObserver, tell
from .settings import ClientSettings

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
