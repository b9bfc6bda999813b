"""A gRPC channel over TLS that follows its files; grpc's own keeps what they held at first."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import grpc
from grpc.aio import Channel

from ..tls import Followed
from .tls import LOOK_AGAIN_S

OLD_S = 3600.0  # for the calls under way on the old channel, as servers give them by default

Open = Callable[[grpc.ChannelCredentials], Channel]


class SecureChannel(Channel):
    """Each call goes over the newest certificate; those under way end on the one they had."""

    def __init__(self, files: Followed[grpc.ChannelCredentials], open_: Open) -> None:
        self._files, self._open = files, open_
        self._newest = open_(files.content)
        self._loop = asyncio.get_running_loop()
        self._look_at = self._loop.time() + LOOK_AGAIN_S
        self._old: set[asyncio.Task[None]] = set()

    @property
    def newest(self) -> Channel:
        """The channel for what comes; the files are looked at once a second at most."""
        now = self._loop.time()
        if now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_S
            if self._files.renew():
                self._replace()
        return self._newest

    def _replace(self) -> None:
        ending = self._loop.create_task(_closed_later(self._newest))
        self._old.add(ending)
        ending.add_done_callback(self._old.discard)
        self._newest = self._open(self._files.content)

    async def close(self, grace: float | None = None) -> None:
        """Close it, after `grace` seconds for the calls of the newest certificate."""
        ending = tuple(self._old)
        for each in ending:
            each.cancel()
        await asyncio.gather(self._newest.close(grace), *ending, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the newest channel."""
        return self.newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Return when the newest channel is in another state."""
        await self.newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Return when the newest channel is connected."""
        await self.newest.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method."""
        return _Method(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method."""
        return _Method(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method."""
        return _Method(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return what calls a method."""
        return _Method(self, "stream_stream", args, kwargs)


class _Method:
    """A method of whichever channel is the newest when it is called."""

    def __init__(
        self, channel: SecureChannel, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._channel, self._kind, self._args, self._kwargs = channel, kind, args, kwargs
        self._of: Channel | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        newest = self._channel.newest
        if newest is not self._of:
            self._of = newest
            self._call = getattr(newest, self._kind)(*self._args, **self._kwargs)
        return self._call(*args, **kwargs)


async def _closed_later(channel: Channel) -> None:
    """Close a channel when its calls have had their time, or at once if it is cancelled."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(OLD_S)
    await channel.close()
