"""A rollout as a cluster makes it: a new replica is ready, then an old one is told to end."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.baking import TEMPLATE
from twinport.testing import Running, running

LOAD = Path(__file__).with_name("rollout_load.py")
REPLICAS, WAIT_S = 2, 120
AS_IN_A_CLUSTER = {"lifecycle.drain": "5s"}  # in which the balancer hears that it leaves
KINDS = ("grpc", "kept", "post")  # of calls


class Cluster:
    """Replicas behind a balancer, and who calls them."""

    def __init__(self, service: Path, environment: dict[str, str], folder: Path) -> None:
        self._service, self._environment = service, environment
        self._listed = folder / "replicas"
        self._listed.touch()
        with socket.create_server((_address(1), 0)) as listener:
            self._port = listener.getsockname()[1]
        load = [service / ".venv/bin/python", LOAD, self._listed, str(self._port)]
        support = environment | {"PYTHONPATH": str(TEMPLATE / "twinport/tests")}
        self._stack = ExitStack()
        self.calls = self._stack.enter_context(Running(load, folder, support))
        self._count = 0

    def replica(self) -> Running:
        """Start one, and wait until the balancer sends calls to it."""
        self._count += 1
        address = _address(self._count)
        settings = AS_IN_A_CLUSTER | {"grpc.host": address, "grpc.port": self._port}
        command = (self._service / ".venv/bin/order-book", "run")
        process = running(command, self._service, settings, self._environment)
        ports = self._stack.enter_context(process).ports()
        with self._listed.open("a") as file:
            file.write(f"{ports.http} {ports.management} {address}\n")
        self.calls.logged(f"ready {ports.management}", seconds=WAIT_S)
        return process

    def answered(self, hundreds: int) -> None:
        """Wait until so many calls of each kind were answered."""
        for kind in KINDS:
            self.calls.logged(f"{kind} {hundreds}00", seconds=WAIT_S)

    def close(self) -> None:
        self._stack.close()


def _address(number: int) -> str:
    return f"127.0.1.{number}"  # of its own, as a pod has


@pytest.fixture
def cluster(
    installed_in_memory: Path, environment: dict[str, str], tmp_path: Path
) -> Iterator[Cluster]:
    cluster = Cluster(installed_in_memory, environment, tmp_path)
    yield cluster
    cluster.close()


def test_no_call_fails_while_every_replica_is_replaced(cluster: Cluster):
    old = [cluster.replica() for _ in range(REPLICAS)]
    cluster.calls.signal(signal.SIGUSR1)
    cluster.answered(1)
    for turn, replaced in enumerate(old, start=2):
        cluster.replica()
        assert replaced.stop(WAIT_S) == 0
        cluster.answered(turn)
    assert cluster.calls.stop(WAIT_S) == 0
    ended = cluster.calls.lines[-1]
    assert ended["failed"] == []
    assert min(ended["answered"][kind] for kind in KINDS) >= 100 * (REPLICAS + 1)
