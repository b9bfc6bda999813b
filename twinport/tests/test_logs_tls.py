import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from loguru import logger
from pydantic import ValidationError

from twinport.errors import StartupError
from twinport.logs import LogsSettings, logging_to
from twinport.settings import Identity

from support.log_collectors import Collector


def certificate(folder: Path, name: str) -> Path:
    """Return a file with a certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    now = datetime.now(UTC)
    signed = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    plain = serialization.NoEncryption(), serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    path.write_bytes(signed.public_bytes(pem) + key.private_bytes(pem, plain[1], plain[0]))
    return path


@pytest.fixture(params=["beats", "http", "tcp"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collector(protocol: str, tmp_path: Path) -> Iterator[Collector]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate(tmp_path, "localhost"))
    collector = Collector(protocol, context)
    collector.start()
    yield collector
    collector.stop()


def settings_for(protocol: str, host: str, port: int, tls: dict[str, Any]) -> LogsSettings:
    where: dict[str, Any] = {"kind": "logstash", "host": host, "port": port, "protocol": protocol}
    if protocol == "http":
        where = {"kind": "http", "url": f"https://{host}:{port}/"}
    return LogsSettings.model_validate({"sinks": {"away": {**where, "tls": tls}}})


def test_lines_arrive_by_tls_from_a_host_that_is_who_it_says(
    collector: Collector, protocol: str, tmp_path: Path
) -> None:
    tls = {"ca": tmp_path / "localhost.pem"}
    with logging_to(settings_for(protocol, "localhost", collector.port, tls), Identity(name="t")):
        logger.info("by tls")
        assert collector.await_messages({"by tls"})


def test_nothing_is_sent_to_a_host_of_another_name(
    collector: Collector, protocol: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tls = {"ca": tmp_path / "localhost.pem"}
    settings = settings_for(protocol, "127.0.0.1", collector.port, tls)
    with logging_to(settings, Identity(name="t")) as logs:
        logger.info("by tls")
        assert not logs.flush(5)
    assert collector.lines == []
    assert "certificate verify failed" in capfd.readouterr().err


def test_a_new_authority_is_trusted_without_a_restart(
    collector: Collector, protocol: str, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    (tmp_path / "other").mkdir()
    trusted.write_bytes(certificate(tmp_path / "other", "localhost").read_bytes())
    settings = settings_for(protocol, "localhost", collector.port, {"ca": trusted})
    with logging_to(settings, Identity(name="t")) as logs:
        logger.info("by tls")
        assert not logs.flush(1)
        trusted.write_bytes((tmp_path / "localhost.pem").read_bytes())
        assert collector.await_messages({"by tls"})


@pytest.mark.parametrize("protocol", ["beats"])
def test_a_file_that_holds_no_certificate_stops_the_start(protocol: str, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    settings = settings_for(protocol, "localhost", 1, {"ca": nothing})
    with pytest.raises(StartupError, match=r"^logs\.sinks\.away\.tls: "):
        logging_to(settings, Identity(name="t")).__enter__()


@pytest.mark.parametrize("protocol", ["beats"])
def test_a_certificate_without_its_key_is_a_mistake_in_the_settings(
    protocol: str, tmp_path: Path
) -> None:
    tls = {"certificate": certificate(tmp_path, "localhost")}
    with pytest.raises(ValidationError, match="certificate and key belong together"):
        settings_for(protocol, "localhost", 1, tls)
