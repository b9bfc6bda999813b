"""Settings of the REST port: where it listens, which server it is, and what that holds out."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ..settings import Duration, Port, Section, Size
from ..tls import HttpTlsSettings

Positive = Field(gt=0)
PositiveTime = Field(gt=timedelta(0))


class HttpLimits(Section):
    """What one client may ask of the port; the defaults hold on a public one."""

    header_size: Annotated[Size, Positive] = 32 * 1024
    """Largest request line and headers together; more is answered 431."""

    header_time: Annotated[Duration, PositiveTime] = timedelta(seconds=10)
    """Longest time from the first byte, or the connection, to the end of the headers."""

    body_size: Annotated[Size, Positive] = 4 * 1024 * 1024
    """Largest body of a request; more is answered 413 without being read."""

    body_time: Annotated[Duration, PositiveTime] = timedelta(seconds=30)
    """Longest time until a body is there; later is answered 408."""

    send_time: Annotated[Duration, PositiveTime] = timedelta(seconds=30)
    """Longest time that an answer waits for a reader who takes next to nothing."""

    idle_time: Annotated[Duration, PositiveTime] = timedelta(seconds=75)
    """How long a connection without a request stays open; a proxy should let go sooner."""

    connection_age: Annotated[Duration, PositiveTime] = timedelta(hours=1)
    """When a connection is asked to end, so that clients spread over the replicas."""

    connections: Annotated[int, Positive] = 1000
    """Connections at once; one more is closed."""

    streams: Annotated[int, Positive] = 100
    """Requests at once on one HTTP/2 connection."""


class HttpSettings(Section):
    """The REST port."""

    host: str = "0.0.0.0"
    """Address to listen on; 0.0.0.0 is every IPv4 address, :: every address."""

    port: Port = 8000
    """Port to listen on; 0 takes any free one."""

    server: Literal["hypercorn", "uvicorn", "granian"] = "hypercorn"
    """Who serves it; uvicorn and granian are extras of the package."""

    tls: HttpTlsSettings | None = None
    """TLS, and client certificates; without it the port speaks plain text."""

    limits: HttpLimits = HttpLimits()
    """What one client may ask."""
