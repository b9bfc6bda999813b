"""Calls the service over gRPC: `connect` gives a channel, the proto packages hold the stubs."""

from .runtime import errors
from .runtime.clients.connect import connect
from .runtime.clients.settings import ClientKeepalive, ClientRetries, ClientSettings, ClientTls

__all__ = [
    "ClientKeepalive",
    "ClientRetries",
    "ClientSettings",
    "ClientTls",
    "connect",
    "errors",
]
