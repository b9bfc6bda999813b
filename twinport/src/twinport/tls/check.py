"""Whether the files of TLS are there, are what they should be, and fit together."""

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from loguru import logger

from ..errors import StartupError
from .files import Pem, TlsSettings


def checked(section: str, tls: TlsSettings) -> Pem:
    """Return what is in the files of `section`; raises StartupError that names the setting."""
    certificate = _read(f"{section}.certificate", tls.certificate)
    key = _read(f"{section}.key", tls.key)
    client_ca = _read(f"{section}.client_ca", tls.client_ca) if tls.client_ca else None
    own = _certificates(f"{section}.certificate: {tls.certificate}", certificate)[0]
    if client_ca is not None:
        _certificates(f"{section}.client_ca: {tls.client_ca}", client_ca)
    _check_key(f"{section}.key: {tls.key}", key, own)
    _warn_of_dates(f"{section}.certificate: {tls.certificate}", own)
    return Pem(certificate, key, client_ca)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{setting}: {path}: {error.strerror}") from error


def _certificates(where: str, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise StartupError(f"{where}: holds no certificate in PEM") from error


def _check_key(where: str, content: bytes, certificate: x509.Certificate) -> None:
    try:
        key = load_pem_private_key(content, None)
    except TypeError as error:
        raise StartupError(f"{where}: has a password; store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise StartupError(f"{where}: holds no private key in PEM") from error
    if key.public_key() != certificate.public_key():
        raise StartupError(f"{where}: does not fit the certificate")


def _warn_of_dates(where: str, certificate: x509.Certificate) -> None:
    now = datetime.now(UTC)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        logger.warning("{}: expired on {:%Y-%m-%d}", where, end)
    elif now < begin:
        logger.warning("{}: not valid before {:%Y-%m-%d}", where, begin)
