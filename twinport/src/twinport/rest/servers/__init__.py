"""The HTTP servers; only the one that `http.server` names is imported."""

import socket

from starlette.types import ASGIApp

from ...compatibility import check_names
from ...extras import part
from ...lifecycle import Server
from ..settings import HttpSettings


def http_server(name: str, app: ASGIApp, bound: socket.socket, settings: HttpSettings) -> Server:
    """Return the server of `settings` for a listening socket; raises StartupError."""
    module = part(f".{settings.server}", f'http.server = "{settings.server}"', __package__)
    check_names()  # also those of the clients, which `build` has made by now
    kind = getattr(module, f"{settings.server.capitalize()}Server")
    server: Server = kind(name, app, bound, settings.limits, settings.tls)
    return server
