"""Calling other services: channels and HTTP clients that keep deadlines, trace and try again."""

from .clients import connect
from .settings import ClientKeepalive, ClientRetries, ClientSettings, ClientTls

__all__ = ["ClientKeepalive", "ClientRetries", "ClientSettings", "ClientTls", "connect"]
