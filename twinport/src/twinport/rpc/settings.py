"""Settings of the gRPC port."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ..settings import Duration, Port, Section, Size
from ..tls import TlsSettings

LARGEST = 2**31 - 1  # grpc's arguments have 32 bits
Positive = Field(gt=0, le=LARGEST)
Time = Annotated[Duration, Field(le=timedelta(days=24))]  # the same in milliseconds


class GrpcLimits(Section):
    """What one client may ask of the port."""

    message_size: Annotated[Size, Positive] = 1024 * 1024
    """Largest message of a request; more is answered RESOURCE_EXHAUSTED. Others wait while one is
    parsed, for up to 50 ms if it is of this size and holds nothing but empty messages."""

    message_time: Annotated[Time, Field(gt=timedelta(0))] = timedelta(seconds=30)
    """Longest time until the one message of a call is there; 20 at once may take longer."""

    waiting: Annotated[int, Positive] = 1000
    """Calls at once whose message is not there; one more refuses the one that waits longest."""

    metadata_size: Annotated[Size, Positive] = 16 * 1024
    """Largest metadata of a call; more is answered RESOURCE_EXHAUSTED."""

    connections: Annotated[int, Positive] = 10_000
    """Connections at once; one more is closed."""

    streams: Annotated[int, Positive] = 100
    """Calls at once on one connection; more wait at the client."""

    idle_time: Time = timedelta(minutes=5)
    """How long a connection without calls stays open."""

    connection_age: Time = timedelta(hours=1)
    """When a connection is asked to end, so that clients spread over replicas."""

    connection_age_grace: Time = timedelta(hours=1)
    """How long calls on a connection that was asked to end may go on; longer streams are cut."""


class GrpcKeepalive(Section):
    """Pings, which keep a connection open through proxies and show a dead one."""

    time: Time = timedelta(minutes=2)
    """How often the server pings a connection on which nothing happens."""

    timeout: Time = timedelta(seconds=20)
    """How long it waits for the answer before it closes the connection."""

    min_client_interval: Time = timedelta(seconds=10)
    """How often a client may ping; one that does more often is sent away (ENHANCE_YOUR_CALM)."""


class GrpcSettings(Section):
    """The gRPC port."""

    host: str = "0.0.0.0"
    """Address to listen on; 0.0.0.0 is every IPv4 address, :: every address."""

    port: Port = 50051
    """Port to listen on; 0 takes any free one."""

    tls: TlsSettings | None = None
    """TLS, and client certificates; without it the port speaks plain text."""

    limits: GrpcLimits = GrpcLimits()
    """What one client may ask."""

    keepalive: GrpcKeepalive = GrpcKeepalive()
    """Pings in both directions."""

    compression: Literal["none", "deflate", "gzip"] = "none"
    """How answers are compressed for clients that accept it; requests may be, whatever it says."""

    threads: Annotated[int, Positive] = 40
    """Methods written with a plain `def` that run at once, each in a thread; more wait."""

    reflection: bool = False
    """Describe the services to clients like grpcurl; config/development.toml has it on."""
