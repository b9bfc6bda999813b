"""Settings of the REST port: where it listens, which server it is, and what that holds out."""

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from ..settings import Duration, Port, Section, Size, mistake
from ..tls import HttpTlsSettings

LARGEST = 2**31 - 1  # what HTTP/2 tells a client of its limits has 32 bits
Positive = Field(gt=0)
PositiveTime = Field(gt=timedelta(0))
Origin = Annotated[str, StringConstraints(pattern=r"^(\*|https?://[^/\s]+)$")]
Token = Annotated[str, StringConstraints(pattern=r"^(\*|[!#$%&'+.^_`|~0-9A-Za-z-]+)$")]


class HttpLimits(Section):
    """What one client may ask of the port; the defaults hold on a public one."""

    header_size: Annotated[Size, Field(gt=0, le=LARGEST)] = 32 * 1024
    """Largest request line and headers together; more is answered 431."""

    header_time: Annotated[Duration, PositiveTime] = timedelta(seconds=10)
    """Longest time from the first byte, or the connection, to the end of the headers."""

    body_size: Annotated[Size, Positive] = 1024 * 1024
    """Largest body of a request; more is answered 413 without being read. Others wait while one is
    parsed, for up to 50 ms if it is of this size and holds nothing but tiny values."""

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

    streams: Annotated[int, Field(gt=0, le=LARGEST)] = 100
    """Requests at once on one HTTP/2 connection."""


class HttpCors(Section):
    """Which pages of other origins may call from a browser; it grants nothing to other callers."""

    origins: tuple[Origin, ...] = ()
    """Their origins, each as in `https://shop.example.com`; `*` is every one."""

    origin_pattern: str = ""
    """Regular expression of further origins; the whole of one has to match."""

    methods: tuple[Token, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    """Methods that they may use; `*` is every one."""

    headers: tuple[Token, ...] = ("authorization", "grpc-timeout", "x-request-id")
    """Headers that they may send, beside those that are always allowed; `*` is every one."""

    exposed: tuple[Token, ...] = ()
    """Headers that they may read, beside `x-trace-id`, `x-request-id` and `retry-after`."""

    credentials: bool = False
    """Whether browsers send their cookies and client certificates along."""

    max_age: Annotated[Duration, PositiveTime] = timedelta(minutes=10)
    """How long browsers remember all this before they ask again."""

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if not self.origins and not self.origin_pattern:
            raise PydanticCustomError("nobody", "origins or origin_pattern must be given")
        if self.credentials and "*" in self.origins:
            raise PydanticCustomError("anybody", 'credentials = true needs origins other than "*"')
        try:
            re.compile(self.origin_pattern)
        except re.error as error:
            raise PydanticCustomError(
                "pattern", "origin_pattern is no regular expression"
            ) from error
        return self


class HttpGzip(Section):
    """Compression for callers who accept it; events and JSON lines are sent as they are."""

    min_size: Size = 1024
    """Smallest answer that is compressed."""

    level: Annotated[int, Field(ge=1, le=9)] = 5
    """1 is fastest, 9 is smallest."""


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

    root_path: Annotated[str, StringConstraints(pattern=r"^(/[^/?#\s]+)*$")] = ""
    """Path under which a proxy shows the port, as in `/shop`, whether it passes it on or not."""

    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of the proxies whose `X-Forwarded-For`, `-Proto` and `Forwarded` tell who called;
    from any other address these headers change nothing."""

    fast_path: bool = True
    """Whether plain routes are read and written by pydantic directly, at half of the cost; answers
    are the same. `config show --routes` says which ones are plain, and of the others why not."""

    limits: HttpLimits = HttpLimits()
    """What one client may ask."""

    cors: HttpCors | None = None
    """Calls from pages of other origins; without it browsers allow none."""

    gzip: HttpGzip | None = None
    """Compressed answers; an empty table is enough."""

    @model_validator(mode="after")
    def _as_granian_can(self) -> Self:
        if self.server != "granian":
            return self
        if self.tls and self.tls.client_auth == "optional":
            raise mistake("tls.client_auth", 'must be "required" with granian')
        if "connection_age" in self.limits.model_fields_set:
            raise mistake("limits.connection_age", "granian ends no connection for its age")
        return self
