"""A CA for development and tests: python -m twinport.tls.authority FOLDER [HOST ...]."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 365
HERE = ("localhost", "127.0.0.1", "::1")
CA_USAGE = {"key_cert_sign": True, "crl_sign": True}
USAGE = {"digital_signature": True}

_BOTH = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]

DAY = timedelta(days=1)  # clocks differ


class Pair(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Issues certificates that those trust who trust `certificate`."""

    def __init__(self, name: str = "development CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        builder = _builder(self._name, self._name, self._key, timedelta(days=DAYS))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        builder = builder.add_extension(_usage(**CA_USAGE), True)
        known_by = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        signed = builder.add_extension(known_by, False).sign(self._key, hashes.SHA256())
        self.certificate = signed.public_bytes(Encoding.PEM)

    def issue(
        self, name: str, alternatives: Sequence[str] = HERE, life: timedelta = timedelta(days=DAYS)
    ) -> Pair:
        """Return a pair for a server or client; alternatives are hosts, addresses and URIs."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self._name, key, life)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(**USAGE), True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(_BOTH), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, False)  # Python 3.13 insists (RFC 5280, 4.2.1.1)
        if alternatives:
            names = [_alternative(text) for text in alternatives]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        signed = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(signed, plain)


def write(pair: Pair, folder: Path, name: str) -> None:
    """Write `name`.pem and, for its owner alone, `name`.key."""
    (folder / f"{name}.pem").write_bytes(pair.certificate)
    key = folder / f"{name}.key"
    key.touch(mode=0o600)
    key.write_bytes(pair.key)


def main(arguments: Sequence[str]) -> None:
    """Write ca.pem, and server and client of that CA, whose own key is forgotten."""
    folder, hosts = Path(arguments[0]), tuple(arguments[1:])
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.certificate)
    write(authority.issue("server", (*HERE, *hosts)), folder, "server")
    write(authority.issue("client", ("client",)), folder, "client")
    print(f"{folder}/: ca.pem, server.pem, server.key, client.pem, client.key")


def _builder(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return x509.CertificateBuilder(
        issuer, name, key.public_key(), x509.random_serial_number(), now - DAY, now + life
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(**chosen: bool) -> x509.KeyUsage:
    flags = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
    rest = ("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{flag: chosen.get(flag, False) for flag in (*flags, *rest)})


def _alternative(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)


if __name__ == "__main__":
    main(sys.argv[1:] or ["certs"])
