"""Settings of a client: `[clients.NAME]`, another service that this one calls."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from ..settings import Duration, Section, Size, Url

MOST_ATTEMPTS = 5  # grpc tries no more often, whatever it is told (gRFC A6)
SHORTEST_KEEPALIVE = timedelta(seconds=10)  # servers send away who pings more often
LARGEST = 2**31 - 1  # grpc's arguments have 32 bits
LONGEST = timedelta(days=24)  # the same in milliseconds
LARGEST_PORT = 65535
EVERY_ADDRESS = "dns:///"  # gRPC's name of all addresses of a host

Positive = Annotated[Duration, Field(gt=timedelta(0))]
Method = Annotated[str, StringConstraints(pattern=r"^[\w.]+/\w+$")]


def _target(target: str) -> str:
    """Return the name of all addresses of a host, unless another scheme is named."""
    port = target.rpartition(":")[2]
    if port.isdecimal() and int(port) > LARGEST_PORT:  # grpc would take it modulo 65536
        raise PydanticCustomError("port", "a port is at most 65535")
    plain = "/" not in target and not target.startswith(("ipv4:", "ipv6:", "unix:", "dns:"))
    return f"{EVERY_ADDRESS}{target}" if target and plain else target


class ClientTls(Section):
    """TLS towards the other service; 1.2 is the oldest version that is spoken.

    The files are read again when they change.
    """

    ca: Path | None = None
    """PEM file of the authorities that are trusted; without it, those of the system."""

    certificate: Path | None = None
    """PEM file of the certificate by which this service is known there (mutual TLS)."""

    key: Path | None = None
    """PEM file of the certificate's private key, without a password."""

    server_name: str = ""
    """Name in the other's certificate, where it is not the host of the `target`; for gRPC."""

    @model_validator(mode="after")
    def _in_pairs(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise PydanticCustomError("pair", "certificate and key must be given together")
        return self


class ClientRetries(Section):
    """Trying again when the other service is away; only what is safe to repeat.

    Over gRPC: methods whose option `idempotency_level` says so; over HTTP: GET, HEAD, OPTIONS,
    PUT and DELETE.
    """

    attempts: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS)] = 3
    """How often a call is tried in all; 1 is never again."""

    first_wait: Positive = timedelta(milliseconds=50)
    """Wait before the second attempt, somewhat random; it doubles with each."""

    longest_wait: Positive = timedelta(seconds=1)
    """Longest wait before any attempt."""

    methods: tuple[Method, ...] = ()
    """Further gRPC methods that are safe to repeat, each as `package.Service/Method`."""


class ClientKeepalive(Section):
    """Pings, which show a dead connection while calls wait on it."""

    time: Annotated[Duration, Field(ge=SHORTEST_KEEPALIVE, le=LONGEST)] = timedelta(seconds=30)
    """How often to ping while nothing else happens; servers allow no less than 10 s."""

    timeout: Annotated[Duration, Field(gt=timedelta(0), le=LONGEST)] = timedelta(seconds=10)
    """How long to wait for the answer before the connection counts as dead."""


class ClientSettings(Section):
    """A service that this one calls."""

    target: Annotated[str, AfterValidator(_target)] = ""
    """Where its gRPC port is: `host:port`, of which every address is used in turn."""

    url: Url = ""
    """Where its REST port is, as in `http://inventory:8000`."""

    deadline: Positive = timedelta(seconds=5)
    """Longest time of a call, attempts and waits included; never more than the caller left us."""

    stream_deadline: Positive = timedelta(hours=1)
    """Longest time of a stream."""

    forward_token: bool = False
    """Send the token of the incoming call on; only to a service that may act as that caller."""

    wait_for_ready: bool = False
    """While it is away, let calls wait until their deadline instead of failing at once."""

    required: bool = False
    """This service is ready only while it can reach the other."""

    health_check: bool = True
    """Send gRPC calls only where grpc.health.v1 says SERVING; what does not know it is trusted."""

    message_size: Annotated[Size, Field(gt=0, le=LARGEST)] = 4 * 1024 * 1024
    """Largest message of an answer over gRPC."""

    compression: Literal["none", "deflate", "gzip"] = "none"
    """How requests are compressed over gRPC; answers may be, whatever it says."""

    retries: ClientRetries = ClientRetries()
    """Trying again."""

    keepalive: ClientKeepalive = ClientKeepalive()
    """Pings of the gRPC connection."""

    tls: ClientTls | None = None
    """TLS and mutual TLS; over gRPC an empty table is enough, over HTTP the `url` decides."""

    @property
    def address(self) -> str:
        """The target as people write it."""
        return self.target.removeprefix(EVERY_ADDRESS)

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not self.target and not self.url:
            raise PydanticCustomError("nowhere", "target (gRPC) or url (REST) must be given")
        return self
