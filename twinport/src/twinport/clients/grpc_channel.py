"""A gRPC channel with the options of its settings; over TLS it follows its certificate files.

The names of its options are those of grpc/impl/channel_arg_names.h and service_config.proto.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any, Self, TypeGuard

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc.aio import Channel, ClientInterceptor

from ..errors import StartupError
from ..tls import Followed
from ..tls.files import files_of, ssl_context, unusable
from .outgoing_call import Outgoing
from .settings import ClientRetries, ClientSettings, ClientTls

FIRST_RECONNECT_MS, LONGEST_RECONNECT_MS = 100, 5_000  # so that who comes back is soon found
CONNECT_MS, RESOLVE_MS = 5_000, 5_000
OLD_S = 3600.0  # for the calls under way on the old channel, as servers give them by default
COMPRESSION = {"deflate": 1, "gzip": 2}  # grpc/impl/compression_types.h


def open_channel(outgoing: Outgoing, interceptors: Sequence[ClientInterceptor]) -> Channel:
    """Return a channel that connects when it is first used; raises StartupError."""
    settings, target = outgoing.settings, outgoing.settings.target
    if not target:
        name = f"clients.{outgoing.name}.target"
        raise StartupError(f"{name}: not set, and needed to call it over gRPC")
    chosen = options(settings)
    if settings.tls is None:
        return grpc.aio.insecure_channel(target, chosen, interceptors=interceptors)
    read = partial(_credentials, outgoing.tls_section, settings.tls)
    files = Followed(outgoing.tls_section, files_of(settings.tls), read)
    secure = partial(grpc.aio.secure_channel, target, options=chosen, interceptors=interceptors)
    return SecureChannel(files, secure)


def open_blocking_channel(outgoing: Outgoing) -> grpc.Channel:
    """Return a channel for code that is not asynchronous; raises StartupError."""
    settings = outgoing.settings
    if settings.tls is None:
        return grpc.insecure_channel(settings.target, options(settings))
    credentials = _credentials(outgoing.tls_section, settings.tls)
    return grpc.secure_channel(settings.target, credentials, options(settings))


def _credentials(section: str, tls: ClientTls) -> grpc.ChannelCredentials:
    """Return what the files of `section` amount to now; raises StartupError."""
    ssl_context(section, tls)  # grpc takes any file, and fails when it connects
    try:
        ca, certificate, key = (path.read_bytes() if path else None for path in files_of(tls))
    except OSError as error:  # changed since
        raise unusable(section, tls, error) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


class SecureChannel(Channel):
    """Each call goes over the newest certificate; those under way end on the one they had."""

    def __init__(
        self,
        files: Followed[grpc.ChannelCredentials],
        open_: Callable[[grpc.ChannelCredentials], Channel],
    ) -> None:
        self._files, self._open = files, open_
        self._newest = open_(files.content)
        self._old: set[asyncio.Task[None]] = set()

    @property
    def newest(self) -> Channel:
        """The channel for what comes; the files are looked at once a second at most."""
        if self._files.renew_if_due():
            ending = asyncio.get_running_loop().create_task(_closed_later(self._newest))
            self._old.add(ending)
            ending.add_done_callback(self._old.discard)
            self._newest = self._open(self._files.content)
        return self._newest

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
        return self.newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.newest.channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _MultiCallable(self, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _MultiCallable(self, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return _MultiCallable(self, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return _MultiCallable(self, lambda channel: channel.stream_stream(*args, **kwargs))


class _MultiCallable:
    """A method of whichever channel is the newest when it is called."""

    def __init__(self, secure: SecureChannel, method_of: Callable[[Channel], Any]) -> None:
        self._secure, self._method_of = secure, method_of
        self._channel: Channel | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        newest = self._secure.newest
        if newest is not self._channel:
            self._channel, self._method = newest, self._method_of(newest)
        return self._method(*args, **kwargs)


async def _closed_later(channel: Channel) -> None:
    """Close a channel when its calls have had their time, or at once if it is cancelled."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(OLD_S)
    await channel.close()


def options(settings: ClientSettings) -> list[tuple[str, Any]]:
    """Return the arguments of a channel; times are in milliseconds, sizes in bytes."""
    keepalive = settings.keepalive
    chosen: dict[str, Any] = {
        "grpc.service_config": json.dumps(_service_config(settings)),
        "grpc.max_receive_message_length": settings.message_size,
        "grpc.enable_http_proxy": 0,  # whatever the environment says of proxies
        "grpc.keepalive_time_ms": _ms(keepalive.time),
        "grpc.keepalive_timeout_ms": _ms(keepalive.timeout),
        "grpc.http2.max_pings_without_data": 0,
        "grpc.initial_reconnect_backoff_ms": FIRST_RECONNECT_MS,
        "grpc.max_reconnect_backoff_ms": LONGEST_RECONNECT_MS,
        "grpc.min_reconnect_backoff_ms": CONNECT_MS,
        "grpc.dns_min_time_between_resolutions_ms": RESOLVE_MS,
    }
    if settings.tls is not None and settings.tls.server_name:
        chosen["grpc.ssl_target_name_override"] = settings.tls.server_name
    if settings.compression in COMPRESSION:
        chosen["grpc.default_compression_algorithm"] = COMPRESSION[settings.compression]
    return list(chosen.items())


def _service_config(settings: ClientSettings) -> dict[str, Any]:
    """Say which calls are tried again, and that all addresses take turns (gRFC A6, A17)."""
    waits = {"waitForReady": settings.wait_for_ready}
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{}], **waits}],
    }
    if settings.health_check:
        config["healthCheckConfig"] = {"serviceName": ""}
    names = [_name(method) for method in sorted({*_repeatable(), *settings.retries.methods})]
    if names and settings.retries.attempts > 1:
        policy = {"name": names, "retryPolicy": _retry_policy(settings.retries), **waits}
        config["methodConfig"].append(policy)
        config["retryThrottling"] = {"maxTokens": 20, "tokenRatio": 0.2}
    return config


def _repeatable() -> Iterator[str]:
    """Yield each method, of the generated code imported so far, that is safe to repeat."""
    modules = [module for name, module in sys.modules.items() if name.endswith("_pb2")]
    files = filter(_is_file, [getattr(module, "DESCRIPTOR", None) for module in modules])
    for service in chain.from_iterable(file.services_by_name.values() for file in files):
        for method in filter(_is_repeatable, service.methods):
            yield f"{service.full_name}/{method.name}"


def _is_file(descriptor: object) -> TypeGuard[FileDescriptor]:
    return isinstance(descriptor, FileDescriptor)


def _is_repeatable(method: MethodDescriptor) -> bool:
    level: int = method.GetOptions().idempotency_level
    return level != MethodOptions.IDEMPOTENCY_UNKNOWN


def _retry_policy(retries: ClientRetries) -> dict[str, Any]:
    return {
        "maxAttempts": retries.attempts,
        "initialBackoff": f"{retries.first_wait.total_seconds()}s",
        "maxBackoff": f"{retries.longest_wait.total_seconds()}s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }


def _name(method: str) -> dict[str, str]:
    service, _, name = method.partition("/")
    return {"service": service, "method": name}


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
