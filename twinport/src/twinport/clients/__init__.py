"""Calling other services: channels and HTTP clients that keep deadlines, trace and try again.

A service that is served takes them from `service.client` and `service.http_client` by the name of a
section in its settings; `connect` and `connect_http` are for everybody else.
"""

from .clients import connect, connect_http
from .settings import ClientKeepalive, ClientRetries, ClientSettings, ClientTls

__all__ = [
    "ClientKeepalive",
    "ClientRetries",
    "ClientSettings",
    "ClientTls",
    "connect",
    "connect_http",
]
