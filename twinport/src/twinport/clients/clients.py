"""The other services that this one calls, and the channel to any other as anybody may open it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING

import grpc
from grpc import ChannelConnectivity

from ..errors import NotFoundError, PermissionDeniedError, StartupError, UnauthenticatedError
from .grpc_channel import open_channel
from .grpc_interceptors import rpc_edges, rpc_spans
from .outgoing_call import ClientObserver, Outgoing, log
from .settings import ClientSettings

if TYPE_CHECKING:
    import httpx2

Check = Callable[[str, Callable[[], Awaitable[object]]], None]


def connect(settings: ClientSettings, name: str = "") -> grpc.aio.Channel:
    """Return a gRPC channel to `settings.target`, on the running loop; whoever opens it closes it.

    `name` is what errors and log lines call the other service; empty: its target. Raises
    StartupError without a target, or where a file of `tls` cannot be used. Calls raise the
    ServiceError that the other service meant (google.rpc.Status), or UnavailableError,
    DeadlineExceededError or InternalError.
    """
    return bounded_channel(Outgoing(name or settings.address, settings, (log,)))


def connect_http(settings: ClientSettings, name: str = "") -> "httpx2.AsyncClient":
    """Return an HTTP client of `settings.url`; whoever opens it closes it.

    `name` is what errors and log lines call the other service; empty: its URL. Raises StartupError
    as `connect` does. Calls raise the ServiceError that the other service meant (RFC 9457), as
    `connect` says; other answers are returned, whatever their status.
    """
    return _opened_http(Outgoing(name or settings.url, settings, (log,)))


def _opened_http(outgoing: Outgoing) -> "httpx2.AsyncClient":
    http = import_module(".http_client", __package__)  # httpx2: for those alone who call over REST
    client: httpx2.AsyncClient = http.open_http(outgoing)
    return client


def bounded_channel(outgoing: Outgoing) -> grpc.aio.Channel:
    """Return a channel whose calls are bounded, observed and traced; raises StartupError."""
    interceptors = [*rpc_edges(outgoing), *rpc_spans(outgoing.settings.target, outgoing.name)]
    return open_channel(outgoing.name, outgoing.settings, interceptors)


class Clients:
    """Hands out one channel and one HTTP client for each section; `resources` closes them."""

    def __init__(
        self,
        settings: Mapping[str, ClientSettings],
        observers: Sequence[ClientObserver],
        resources: AsyncExitStack,
        check: Check,
    ) -> None:
        self._settings, self._observers = settings, (*observers, log)
        self._resources, self._check = resources, check
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._http: dict[str, httpx2.AsyncClient] = {}

    def channel(self, name: str) -> grpc.aio.Channel:
        """Return the gRPC channel of `[clients.name]`; raises StartupError."""
        if name not in self._channels:
            self._channels[name] = channel = self._open_channel(self._outgoing(name))
            self._resources.push_async_callback(channel.close)
        return self._channels[name]

    def http(self, name: str) -> "httpx2.AsyncClient":
        """Return the HTTP client of `[clients.name]`; raises StartupError."""
        if name not in self._http:
            self._http[name] = client = self._open_http(self._outgoing(name))
            self._resources.push_async_callback(client.aclose)
        return self._http[name]

    def _outgoing(self, name: str) -> Outgoing:
        if name not in self._settings:
            raise StartupError(f"clients.{name}: not in the settings, and needed")
        return Outgoing(name, self._settings[name], self._observers)

    def _open_channel(self, outgoing: Outgoing) -> grpc.aio.Channel:
        channel = bounded_channel(outgoing)

        async def is_connected() -> None:
            await connected(channel)

        if outgoing.settings.required:
            self._check(f"clients.{outgoing.name}", is_connected)
        return channel

    def _open_http(self, outgoing: Outgoing) -> "httpx2.AsyncClient":
        client = _opened_http(outgoing)

        async def answers() -> None:
            with suppress(NotFoundError, UnauthenticatedError, PermissionDeniedError):
                await client.options("/")  # a refusal is an answer, too

        if outgoing.settings.required and not outgoing.settings.target:
            self._check(f"clients.{outgoing.name}", answers)
        return client


async def connected(channel: grpc.aio.Channel) -> None:
    """Return as soon as some address takes calls; until then, go on trying."""
    state = channel.get_state(try_to_connect=True)
    while state is not ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
