"""TLS towards another service, for both transports."""

import ssl
from pathlib import Path

import grpc

from ..errors import StartupError
from .settings import ClientTls


def ssl_context(name: str, tls: ClientTls) -> ssl.SSLContext:
    """Return what the files of `[clients.name.tls]` amount to; raises StartupError."""
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
    ca, key, certificate = (_content(path) for path in (tls.ca, tls.key, tls.certificate))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _content(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()


def _reason(error: OSError, tls: ClientTls) -> str:
    """Say which file is meant, which Python leaves out."""
    files = [path for path in (tls.ca, tls.certificate, tls.key) if path is not None]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        return f"no such file: {', '.join(absent)}"
    reason = getattr(error, "reason", "") or error.strerror or str(error)
    return f"{', '.join(map(str, files))}: {reason}"
