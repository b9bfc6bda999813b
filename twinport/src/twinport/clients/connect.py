"""The channel to another service, as a service opens it, and as anybody may."""

import grpc

from .channel import open_channel
from .log import log
from .outgoing import Outgoing
from .rpc import rpc_edges
from .rpc_spans import rpc_spans
from .settings import ClientSettings


def connect(settings: ClientSettings, name: str = "") -> grpc.aio.Channel:
    """Return a channel on the running loop; whoever opens it closes it. Raises StartupError.

    `name` is what errors and log lines call the other service; empty: its target.
    """
    return bounded_channel(Outgoing(name or settings.address, settings, (log,)))


def bounded_channel(outgoing: Outgoing) -> grpc.aio.Channel:
    """Return a channel whose calls are bounded, observed and traced; raises StartupError."""
    interceptors = [*rpc_edges(outgoing), *rpc_spans(outgoing.settings.target, outgoing.name)]
    return open_channel(outgoing.name, outgoing.settings, interceptors)
