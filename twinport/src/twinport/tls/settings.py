"""TLS of a port; 1.2 is the oldest version that is spoken."""

from pathlib import Path
from typing import Literal

from ..settings import Section


class TlsSettings(Section):
    """TLS of a port; the files are read again when they change."""

    certificate: Path
    """PEM file of the certificate, followed by those between it and its CA."""

    key: Path
    """PEM file of the certificate's private key, without a password."""

    client_ca: Path | None = None
    """PEM file of the CAs of clients; if given, a client needs a certificate (mutual TLS)."""


class HttpTlsSettings(TlsSettings):
    """TLS of the REST port; HTTP/2 and HTTP/1.1 are offered by ALPN."""

    client_auth: Literal["required", "optional"] = "required"
    """Whether a client without a certificate may connect, if `client_ca` is given."""

    min_version: Literal["1.2", "1.3"] = "1.2"
    """Oldest version of TLS that is spoken."""
