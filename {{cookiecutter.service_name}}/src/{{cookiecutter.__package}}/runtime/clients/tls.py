"""TLS towards another service, for both transports."""

import ssl
from functools import partial
from pathlib import Path

import grpc

from ..errors import StartupError
from ..tls import Followed
from .settings import ClientTls


def followed_context(name: str, tls: ClientTls) -> Followed[ssl.SSLContext]:
    """Return what the files of `[clients.name.tls]` amount to; raises StartupError."""
    return Followed(f"clients.{name}.tls", _files(tls), partial(ssl_context, name, tls))


def followed_credentials(name: str, tls: ClientTls) -> Followed[grpc.ChannelCredentials]:
    """Return the same for gRPC; raises StartupError."""
    return Followed(f"clients.{name}.tls", _files(tls), partial(credentials, name, tls))


def ssl_context(name: str, tls: ClientTls) -> ssl.SSLContext:
    """Return what the files of `[clients.name.tls]` amount to now; raises StartupError."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise StartupError(f"clients.{name}.tls: {_reason(error, tls)}") from error
    return context


def credentials(name: str, tls: ClientTls) -> grpc.ChannelCredentials:
    """Return the same for gRPC, which itself would keep quiet about bad files."""
    ssl_context(name, tls)
    try:
        ca, certificate, key = (_content(path) for path in _files(tls))
    except OSError as error:  # changed since
        raise StartupError(f"clients.{name}.tls: {_reason(error, tls)}") from error
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _files(tls: ClientTls) -> tuple[Path | None, ...]:
    return tls.ca, tls.certificate, tls.key


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def _reason(error: OSError, tls: ClientTls) -> str:
    """Say which file is meant, which Python leaves out."""
    files = [path for path in _files(tls) if path is not None]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        return f"no such file: {', '.join(absent)}"
    reason = getattr(error, "reason", "") or error.strerror or str(error)
    return f"{', '.join(map(str, files))}: {reason}"
