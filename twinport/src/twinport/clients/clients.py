"""Clients of other services: a gRPC channel and an HTTP client for each section of the settings."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import grpc
from grpc import ChannelConnectivity

from ..errors import NotFoundError, PermissionDeniedError, StartupError, UnauthenticatedError
from .grpc_channel import open_channel
from .grpc_interceptors import client_interceptors
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
    return _open_http(Outgoing(name or settings.url, settings, (log,)))


def bounded_channel(outgoing: Outgoing) -> grpc.aio.Channel:
    """Return a channel whose calls are bounded, observed and traced; raises StartupError."""
    return open_channel(outgoing, client_interceptors(outgoing.settings.target, outgoing))


def _open_http(outgoing: Outgoing) -> "httpx2.AsyncClient":
    module = import_module(".http_client", __package__)  # httpx2: for those who call over REST
    client: httpx2.AsyncClient = module.HttpClient(outgoing)
    return client


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
            outgoing = self._outgoing(name)
            self._channels[name] = channel = bounded_channel(outgoing)
            self._resources.push_async_callback(channel.close)
            if outgoing.settings.required:
                self._check(f"clients.{name}", partial(connected, channel))
        return self._channels[name]

    def http(self, name: str) -> "httpx2.AsyncClient":
        """Return the HTTP client of `[clients.name]`; raises StartupError."""
        if name not in self._http:
            outgoing = self._outgoing(name)
            self._http[name] = client = _open_http(outgoing)
            self._resources.push_async_callback(client.aclose)
            if outgoing.settings.required and not outgoing.settings.target:
                self._check(f"clients.{name}", partial(_answered, client))
        return self._http[name]

    def _outgoing(self, name: str) -> Outgoing:
        if name not in self._settings:
            raise StartupError(f"clients.{name}: not in the settings, and needed")
        return Outgoing(name, self._settings[name], self._observers)


async def connected(channel: grpc.aio.Channel) -> None:
    """Return as soon as some address takes calls; until then, go on trying."""
    state = channel.get_state(try_to_connect=True)
    while state is not ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


async def _answered(client: "httpx2.AsyncClient") -> None:
    with suppress(NotFoundError, UnauthenticatedError, PermissionDeniedError):
        await client.options("/")  # a refusal is an answer, too
