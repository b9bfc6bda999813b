"""The server that the settings name; only that one is imported."""

import socket
from importlib import import_module

from starlette.types import ASGIApp

from ..errors import StartupError
from ..lifecycle import Server
from .settings import HttpSettings

CLASSES = {
    "hypercorn": "HypercornServer",
    "uvicorn": "UvicornServer",
    "granian": "GranianServer",
}


def http_server(name: str, app: ASGIApp, bound: socket.socket, settings: HttpSettings) -> Server:
    """Return the server of `settings` for a listening socket; raises StartupError."""
    try:
        module = import_module(f".{settings.server}", __package__)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise StartupError(
            f'http.server: {missing} is not installed; install the extra "{settings.server}"'
        ) from error
    server: Server = getattr(module, CLASSES[settings.server])(
        name, app, bound, settings.limits, settings.tls
    )
    return server
