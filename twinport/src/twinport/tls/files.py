"""TLS files: certificates and keys that are reloaded when they change, in both directions."""

import ssl
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from loguru import logger

from ..errors import StartupError
from ..settings import Section

Stamp = tuple[int, int, int]  # when it changed, its size, and which file it is
Content = TypeVar("Content")

GONE: Stamp = (0, 0, 0)
LOOK_AGAIN_S = 1.0


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


class Pem(NamedTuple):
    """The content of each file, as PEM."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Followed(Generic[Content]):
    """What the files of `section` amounted to when they last fitted together."""

    def __init__(
        self, section: str, paths: Iterable[Path | None], read: Callable[[], Content]
    ) -> None:
        """Read the files; raises StartupError, as `read` does when they do not fit."""
        self._section, self._read = section, read
        self._paths = [path for path in paths if path is not None]
        self._stamps = self._seen()
        self.content = read()
        self._due_at = time.monotonic() + LOOK_AGAIN_S

    def renew(self) -> bool:
        """Return whether they have changed, and are as good as the old ones; blocks shortly.

        What does not fit is looked at again when it changes again: key and certificate are
        written one after the other.
        """
        seen = self._seen()
        if seen == self._stamps:
            return False
        self._stamps = seen
        try:
            self.content = self._read()
        except StartupError as error:
            logger.warning("{}; the old certificate stays", error)
            return False
        logger.info("{}: took the new certificate", self._section)
        return True

    def renew_if_due(self) -> bool:
        """Do so once in a second at most: before each call of a client, or each handshake."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + LOOK_AGAIN_S
        return self.renew()

    def _seen(self) -> list[Stamp]:
        return [_stamp(path) for path in self._paths]


class TlsFiles(Followed[Pem]):
    """Certificate, key and CA of one port."""

    def __init__(self, section: str, settings: TlsSettings) -> None:
        """Read the files; raises StartupError."""
        paths = (settings.certificate, settings.key, settings.client_ca)
        super().__init__(section, paths, partial(_checked, section, settings))


def _checked(section: str, settings: TlsSettings) -> Pem:
    check = import_module(".check", __package__)  # cryptography: for those alone who have TLS
    pem: Pem = check.checked(section, settings)
    return pem


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return GONE
    return found.st_mtime_ns, found.st_size, found.st_ino


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
