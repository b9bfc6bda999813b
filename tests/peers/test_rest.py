"""Requests by curl and by h2spec."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import TOOLS, Peer

pytestmark = pytest.mark.peers

KNOWN = Path(__file__).with_name("h2spec-known.txt")
CASES = 138


def curl(*options: str | Path) -> list[str]:
    """Return the body, and what curl says of the answer."""
    command = ("curl", "--silent", "--show-error", "--write-out", "\n%{http_version} %{http_code}")
    done = subprocess.run((*command, *options), capture_output=True, text=True, check=True)
    return done.stdout.rsplit("\n", 1)


WAYS = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")]


@pytest.mark.parametrize(("option", "version"), WAYS)
def test_the_clear_port_speaks_both_versions(service, option, version):
    body, said = curl(option, f"http://127.0.0.1:{service.http}/v1/orders")
    assert said == f"{version} 200"
    assert "orders" in json.loads(body)


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_the_version_is_agreed_upon_in_the_handshake_of_tls(secure, option, version):
    address = f"https://localhost:{secure.http}/v1/orders"
    _, said = curl(option, "--cacert", secure.ca, address)
    assert said == f"{version} 200"


@pytest.mark.parametrize(("option", "version"), WAYS)
def test_an_upload_that_is_refused_reads_its_answer(service, tmp_path, option, version):
    (tmp_path / "large").write_bytes(bytes(8 * 1024 * 1024))
    address = f"http://127.0.0.1:{service.http}/v1/orders"
    body, said = curl(option, "--data-binary", f"@{tmp_path}/large", address)
    assert said == f"{version} 413"
    assert json.loads(body)["code"] == "RESOURCE_EXHAUSTED"


def failures(running: Peer, report: Path, *options: str) -> list[str]:
    """Return which cases fail of the sections on frames (generic) and on RFC 7540 (http2)."""
    where = ("-h", "127.0.0.1", "-p", str(running.http), "-P", "/v1/orders", "-j", report)
    command = (TOOLS / "h2spec", "generic", "http2", "-o", "5", *where, *options)
    subprocess.run(command, capture_output=True, timeout=300, check=False)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) == CASES
    return [
        f"{case.get('package')}: {case.get('classname')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]


def known() -> list[str]:
    lines = KNOWN.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_no_other_case_of_h2spec_fails_than_those_that_are_known(service, tmp_path):
    assert failures(service, tmp_path / "report.xml") == known()


def test_no_case_of_h2spec_fails_where_tls_has_settled_the_version(secure, tmp_path):
    assert failures(secure, tmp_path / "report.xml", "-t", "-k") == []
