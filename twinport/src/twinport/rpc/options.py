"""The settings of the port as grpc's channel arguments (grpc/impl/channel_arg_names.h)."""

from datetime import timedelta

from .settings import GrpcSettings

Option = tuple[str, int]

ALGORITHMS = {"deflate": 1, "gzip": 2}  # grpc/impl/compression_types.h


def options(settings: GrpcSettings) -> list[Option]:
    """Return the arguments of a server; times are in milliseconds, sizes in bytes."""
    limits, keepalive = settings.limits, settings.keepalive
    ping_interval = _ms(keepalive.min_client_interval)
    chosen = [
        ("grpc.so_reuseport", 0),  # else another process can share the port unseen
        ("grpc.max_receive_message_length", limits.message_size),
        ("grpc.max_metadata_size", limits.metadata_size),
        ("grpc.absolute_max_metadata_size", limits.metadata_size),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_connection_idle_ms", _ms(limits.idle_time)),
        ("grpc.max_connection_age_ms", _ms(limits.connection_age)),
        ("grpc.max_connection_age_grace_ms", _ms(limits.connection_age_grace)),
        ("grpc.keepalive_time_ms", _ms(keepalive.time)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", ping_interval),
    ]
    algorithm = ALGORITHMS.get(settings.compression)
    return [*chosen, ("grpc.default_compression_algorithm", algorithm)] if algorithm else chosen


def _ms(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)
