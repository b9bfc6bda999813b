"""A real Elasticsearch that the stack has set up, and lines that real services have logged."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from twinport.testing import own_environment

from .node import PASSWORD, Node, elasticsearch
from .traffic import Line, logged, troubled_pair

STACK = Path(__file__).parents[2] / "stack"
USERS = ("ELASTIC", "KIBANA", "LOGSTASH", "ZIPKIN", "ELASTALERT", "KEEPER", "READER")


@pytest.fixture(scope="session")
def passwords() -> dict[str, str]:
    made = {f"{user}_PASSWORD": f"of-{user.lower()}-alone" for user in USERS}
    return made | {"ELASTIC_PASSWORD": PASSWORD}


class Certificate(NamedTuple):
    """Files in PEM: a certificate for this machine, trusted by itself; and it with its key."""

    alone: Path
    with_key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    made = Certificate(folder / "alone.pem", folder / "with-key.pem")
    named = ("-subj", "/CN=stack.test", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    files = ("-out", made.alone, "-keyout", made.with_key)
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *named, *files)
    subprocess.run(command, check=True, capture_output=True)
    made.with_key.write_bytes(made.alone.read_bytes() + made.with_key.read_bytes())
    return made


@pytest.fixture(scope="session")
def server() -> Iterator[Node]:
    """A node on which nobody has done anything yet, but for `node`."""
    with elasticsearch() as server:
        yield server


@pytest.fixture(scope="session")
def variables(server: Node, passwords: dict[str, str]) -> dict[str, str]:
    """What the jobs of the stack are told by their environment."""
    return passwords | {"ELASTICSEARCH_URL": server.url, "KEEP_DAYS": "14", "EVERY_MINUTES": "0"}


@pytest.fixture(scope="session")
def job(variables: dict[str, str]) -> Any:
    """Runs a job of the stack as its containers do, and returns what it said."""

    def job(module: str, *arguments: str, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=STACK,
            env=own_environment() | variables | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return job


@pytest.fixture(scope="session")
def node(server: Node, job: Any) -> Node:
    """The node, with roles, users and templates."""
    job("jobs.set_up", "elasticsearch")
    return server


@pytest.fixture(scope="session")
def pair() -> tuple[Path, Path]:
    """Both services: order-book, and checkout, which calls it."""
    return troubled_pair()


@pytest.fixture(scope="session")
def lines(pair: tuple[Path, Path]) -> list[Line]:
    """What a service has logged that was called well and badly."""
    return logged(pair[0])
