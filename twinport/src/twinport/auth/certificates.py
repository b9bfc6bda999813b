"""Callers known by the certificate of their connection (mutual TLS)."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..errors import UnauthenticatedError
from .auth import AuthMethod
from .permissions import Credentials, Principal
from .settings import AuthSettings

ANYONE = "*"


class CertificateName(NamedTuple):
    """A name, and when it expires in seconds since 1970; the name is empty if there is none."""

    subject: str
    until: float


def auth_method(settings: AuthSettings) -> AuthMethod:
    """Return how callers are known by their certificates."""
    return AuthMethod(Certificates(settings.grants), nullcontext)


class Certificates:
    """Names a caller by its certificate and gives it the scopes of `grants`."""

    def __init__(self, grants: Mapping[str, frozenset[str]]) -> None:
        self._grants = grants

    async def __call__(self, credentials: Credentials) -> Principal:
        """Return who calls; raises UnauthenticatedError."""
        name = identity(credentials.certificate) if credentials.certificate else None
        if not name or not name.subject or name.until < time.time():
            raise UnauthenticatedError("a client certificate is needed", challenge="Certificate")
        nothing: frozenset[str] = frozenset()
        own = self._grants.get(name.subject, nothing)
        scopes = own | self._grants.get(ANYONE, nothing)
        return Principal(name.subject, scopes, expires_at=name.until)


@lru_cache(maxsize=1024)
def identity(certificate: bytes) -> CertificateName:
    """Return the first URI in it, such as SPIFFE's, else its first DNS name, else its CN."""
    is_pem = certificate.startswith(b"-----BEGIN")
    load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
    parsed = load(certificate)
    names = [*_alternative_names(parsed), *_common_names(parsed), ""]
    return CertificateName(names[0], parsed.not_valid_after_utc.timestamp())


def _alternative_names(parsed: x509.Certificate) -> list[str]:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [*uris, *names.get_values_for_type(x509.DNSName)]


def _common_names(parsed: x509.Certificate) -> list[str]:
    return [str(name.value) for name in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
