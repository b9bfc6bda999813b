"""One baked service, installed and started, for clients that are not ours."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.baking import installed_in
from twinport.testing import Running, running

TEMPLATE = Path(__file__).parents[2]
TOOLS = TEMPLATE / ".build/bin"
BUGS = {"error", "critical"}
SECURE = {
    f"{port}.tls.{name}": f"certs/server.{kind}"
    for port in ("http", "grpc")
    for name, kind in (("certificate", "pem"), ("key", "key"))
}


class Peer(NamedTuple):
    """A service that is ready."""

    folder: Path
    process: Running

    @property
    def http(self) -> int:
        return self.process.ports().http

    @property
    def rpc_address(self) -> str:
        return f"localhost:{self.process.ports().grpc}"

    @property
    def ca(self) -> Path:
        return self.folder / "certs/ca.pem"

    def errors(self) -> list[dict[str, Any]]:
        """Return the records of its log that are bugs of the service."""
        return [line for line in self.process.lines if line["log.level"] in BUGS]


Start = Callable[..., Peer]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that needs no migration."""
    return installed_in(tmp_path_factory.mktemp("peers"), store="memory")


@pytest.fixture(scope="session")
def start(installed: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Starts the service with settings on free ports; all end with the tests."""
    command = (installed / ".venv/bin/order-book", "run")
    with ExitStack() as stack:
        peers = []

        def start(settings: dict[str, object]) -> Peer:
            chosen = {"grpc.reflection": True} | settings
            process = stack.enter_context(running(command, installed, chosen, environment))
            process.ports()
            peers.append(Peer(installed, process))
            return peers[-1]

        yield start
        assert [peer.process.stop() for peer in peers] == [0] * len(peers)


@pytest.fixture(scope="session")
def service(start: Start) -> Peer:
    return start({})


@pytest.fixture(scope="session")
def secure(installed: Path, run, start: Start) -> Peer:
    """The same with TLS on both ports."""
    run("make", "certs", cwd=installed)
    return start(SECURE)


@pytest.fixture(autouse=True)
def nothing_is_logged_as_an_error(service: Peer) -> Iterator[None]:
    before = len(service.errors())
    yield
    assert service.errors()[before:] == []
