"""TLS towards another service over gRPC, which itself would keep quiet about bad files."""

from functools import partial
from pathlib import Path

import grpc

from ..tls import Followed
from ..tls.outgoing import files_of, ssl_context, unusable
from .settings import ClientTls

LOOK_AGAIN_S = 1.0  # clients look at their files once in that time, at most


def followed_credentials(name: str, tls: ClientTls) -> Followed[grpc.ChannelCredentials]:
    """Return what `[clients.name.tls]` amounts to, today and later; raises StartupError."""
    return Followed(section(name), files_of(tls), partial(credentials, name, tls))


def credentials(name: str, tls: ClientTls) -> grpc.ChannelCredentials:
    """Return what it amounts to now; raises StartupError."""
    ssl_context(section(name), tls)
    try:
        ca, certificate, key = (_content(path) for path in files_of(tls))
    except OSError as error:  # changed since
        raise unusable(section(name), tls, error) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def section(name: str) -> str:
    """Return where the settings say so."""
    return f"clients.{name}.tls"


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
