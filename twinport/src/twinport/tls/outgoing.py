"""TLS towards another host: whom we trust, and who we are."""

import ssl
from functools import partial
from pathlib import Path
from typing import Protocol

from ..errors import StartupError
from .files import Followed


class OutgoingTls(Protocol):
    """Files in PEM; without a CA the authorities of the system are trusted."""

    @property
    def ca(self) -> Path | None: ...

    @property
    def certificate(self) -> Path | None: ...

    @property
    def key(self) -> Path | None: ...


def followed_context(section: str, tls: OutgoingTls) -> Followed[ssl.SSLContext]:
    """Return what the files of `section` amount to, today and later; raises StartupError."""
    return Followed(section, files_of(tls), partial(ssl_context, section, tls))


def ssl_context(section: str, tls: OutgoingTls) -> ssl.SSLContext:
    """Return what the files of `section` amount to now; raises StartupError."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise unusable(section, tls, error) from error
    return context


def files_of(tls: OutgoingTls) -> tuple[Path | None, ...]:
    """Return CA, certificate and key."""
    return tls.ca, tls.certificate, tls.key


def unusable(section: str, tls: OutgoingTls, error: OSError) -> StartupError:
    """Return an error that says which file is meant, which Python leaves out."""
    files = [path for path in files_of(tls) if path is not None]
    absent = [str(path) for path in files if not path.is_file()]
    if absent:
        return StartupError(f"{section}: no such file: {', '.join(absent)}")
    reason = getattr(error, "reason", "") or error.strerror or str(error)
    return StartupError(f"{section}: {', '.join(map(str, files))}: {reason}")
