"""A gRPC channel as the settings want it (grpc/impl/channel_arg_names.h, service_config.proto)."""

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import Any, TypeGuard

import grpc
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc.aio import ClientInterceptor

from ..errors import StartupError
from .secure_channel import SecureChannel
from .settings import ClientRetries, ClientSettings
from .tls import credentials, followed_credentials

FIRST_RECONNECT_MS, LONGEST_RECONNECT_MS = 100, 5_000  # so that who comes back is soon found
ALGORITHMS = {"deflate": 1, "gzip": 2}  # grpc/impl/compression_types.h
CONNECT_MS, RESOLVE_MS = 5_000, 5_000


def open_channel(
    name: str, settings: ClientSettings, interceptors: Sequence[ClientInterceptor]
) -> grpc.aio.Channel:
    """Return a channel that connects when it is first used; raises StartupError."""
    if not settings.target:
        raise StartupError(f"clients.{name}.target: not set, and needed to call it over gRPC")
    chosen, target = options(settings), settings.target
    if settings.tls is None:
        return grpc.aio.insecure_channel(target, chosen, interceptors=interceptors)
    files = followed_credentials(name, settings.tls)
    secure = partial(grpc.aio.secure_channel, target, options=chosen, interceptors=interceptors)
    return SecureChannel(files, secure)


def open_blocking_channel(name: str, settings: ClientSettings) -> grpc.Channel:
    """Return the same for code that is not asynchronous; raises StartupError."""
    if settings.tls is None:
        return grpc.insecure_channel(settings.target, options(settings))
    return grpc.secure_channel(settings.target, credentials(name, settings.tls), options(settings))


def options(settings: ClientSettings) -> list[tuple[str, Any]]:
    """Return the arguments of a channel; times are in milliseconds, sizes in bytes."""
    keepalive = settings.keepalive
    name = settings.tls.server_name if settings.tls else ""
    chosen: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(service_config(settings))),
        ("grpc.max_receive_message_length", settings.message_size),
        ("grpc.keepalive_time_ms", _ms(keepalive.time)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", LONGEST_RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_MS),
    ]
    extra: dict[str, Any] = {
        "grpc.ssl_target_name_override": name,
        "grpc.default_compression_algorithm": ALGORITHMS.get(settings.compression),
    }
    return [*chosen, *((option, value) for option, value in extra.items() if value)]


def service_config(settings: ClientSettings) -> dict[str, Any]:
    """Say which calls are tried again, and that all addresses take turns (gRFC A6, A17)."""
    waits = {"waitForReady": settings.wait_for_ready}
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [{"name": [{}], **waits}],
    }
    if settings.health_check:
        config["healthCheckConfig"] = {"serviceName": ""}
    names = [_name(method) for method in sorted({*repeatable(), *settings.retries.methods})]
    if names and settings.retries.attempts > 1:
        policy = {"name": names, "retryPolicy": _retry_policy(settings.retries), **waits}
        config["methodConfig"].append(policy)
        config["retryThrottling"] = {"maxTokens": 20, "tokenRatio": 0.2}
    return config


def repeatable() -> Iterator[str]:
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
