"""The image of a service: built, looked at, and run as a cluster runs it."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import pytest

from tests.baking import Bake
from tests.deploy import containers
from twinport.testing import Running

pytestmark = pytest.mark.image

IMAGE = "localhost/order-book"
# Bytes that a service adds to its base, by store. Each is built where IMAGE_STORES names it.
LARGEST_LAYERS = {"memory": 80_000_000, "redis": 85_000_000, "sql": 105_000_000}
BUILT_STORES = os.environ.get("IMAGE_STORES", "memory").split()
COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMPILED = """
import importlib.util as util, pathlib
files = [*pathlib.Path("/venv/lib").rglob("*.py")]
bare = [str(file) for file in files if not pathlib.Path(util.cache_from_source(file)).exists()]
tools = [name for name in ("pip", "hatchling", "grpc_tools", "mypy") if util.find_spec(name)]
print(len(files), bare, tools)
"""
PATIENT = {"DRAIN": "5m", "PLATFORM_GRACE": "6m"}  # a command beside it takes its time to start
START_S, STOP_S = 120, 120


class Image(NamedTuple):
    name: str
    base: str


@pytest.fixture(scope="module")
def image(service_in_memory: Path) -> Image:
    base = containers.base()
    containers.build(service_in_memory, base, IMAGE, VERSION="1.2.3", COMMIT=COMMIT)
    return Image(IMAGE, base)


class Container(NamedTuple):
    """A running container, and what its service was told."""

    name: str
    process: Running
    ports: dict[str, int]

    def said(self, *words: str) -> tuple[int, str]:
        """Run a command of the service beside it; return its status and what it printed."""
        command = [*containers.podman_command(), "exec", self.name, "order-book", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, f"{done.stdout}{done.stderr}".strip()


@pytest.fixture
def container(image: Image) -> Iterator[Container]:
    ports = dict(zip(("HTTP", "GRPC", "MANAGEMENT"), free_ports(3), strict=True))
    sets = {f"ORDER_BOOK__{name}__PORT": port for name, port in ports.items()}
    sets |= {"ORDER_BOOK__TRACES__EXPORTER": "none", "ORDER_BOOK__GRPC__REFLECTION": "true"}
    sets |= {f"ORDER_BOOK__LIFECYCLE__{name}": time for name, time in PATIENT.items()}
    with containers.started("order-book", image.name, **sets) as process:
        try:
            process.logged("ready", seconds=START_S)
            yield Container("order-book", process, ports)
        finally:
            containers.remove("order-book")


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def create(container: Container) -> str:
    """Create an order over REST; return its id."""
    url, order = (
        f"http://127.0.0.1:{container.ports['HTTP']}/v1/orders",
        b'{"sku":"tea","quantity":2}',
    )
    asked = Request(url, order, {"content-type": "application/json"})
    with urlopen(asked, timeout=60) as answer:
        created: str = json.load(answer)["id"]
    return created


def test_the_image_tells_how_it_is_run_and_where_it_came_from(image: Image):
    described = containers.described(image.name)
    config = described["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["order-book"], ["run"]), "no shell"
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"8000/tcp", "50051/tcp", "9000/tcp"}
    assert described["Healthcheck"]["Test"] == ["CMD", "order-book", "health"]
    prefix = "org.opencontainers.image"
    labels = {key.removeprefix(f"{prefix}."): value for key, value in config["Labels"].items()}
    assert labels.items() >= {
        ("title", "order-book"),
        ("version", "1.2.3"),
        ("revision", COMMIT),
    }


@pytest.mark.parametrize("store", BUILT_STORES)
def test_what_a_service_adds_to_its_base_is_small_and_a_release_smaller(
    bake: Bake, image: Image, store: str
):
    name = f"{IMAGE}-{store}"
    containers.build(bake(store=store), image.base, name)  # of `memory` all layers are there
    layers = containers.layers_of(name, image.base)
    print(f"layers of {store}: {layers}, in all {sum(layers):,} bytes")
    assert sum(layers) < LARGEST_LAYERS[store]
    assert sum(sorted(layers)[:-1]) < 5_000_000, "the largest, of what is locked, stays"


def test_it_answers_on_both_transports_and_drains_at_sigterm_as_process_1(container: Container):
    created = create(container)
    got = ("call", "order_book.orders.v1.OrderService/GetOrder", json.dumps({"id": created}))
    status, said = container.said(*got)
    assert status == 0, said
    assert f'"{created}"' in said
    assert container.said("health") == (0, "ready")
    containers.stop(container.name)
    container.process.logged("SIGTERM")
    assert container.said("health") == (1, "order-book: not ready: stopping")
    assert create(container), "it serves until it has drained"
    containers.stop(container.name)  # which skips what is left of the wait
    assert container.process.exit_status(STOP_S) == 0
    assert container.process.lines[-1]["message"] == "stopped"


def test_it_writes_nowhere_and_stays_within_its_memory(container: Container):
    for _ in range(20):
        create(container)
    (state,) = json.loads(containers.podman("inspect", container.name))
    written = Path(state["GraphDriver"]["Data"]["UpperDir"]).rglob("*")
    assert [path for path in written if path.is_file() and path.stat().st_size] == []
    assert state["HostConfig"]["Memory"] == 256 * 1024 * 1024
    assert state["HostConfig"]["ReadonlyRootfs"]
    assert not state["State"]["OOMKilled"]
    status = Path(f"/proc/{state['State']['Pid']}/status").read_text()
    print([line for line in status.splitlines() if line.startswith(("VmHWM", "Uid", "CapEff"))])
    assert "CapEff:\t0000000000000000" in status


def test_everything_is_compiled_and_nothing_of_pip_or_of_building_is_left(image: Image):
    run = (*containers.RUN, "--rm", "--entrypoint=/venv/bin/python", image.name)
    count, *rest = containers.podman("run", *run, "-c", COMPILED).split(maxsplit=1)
    assert int(count) > 1000
    assert rest == ["[] []"]


def test_the_settings_of_production_are_right_in_it(image: Image):
    said = containers.podman("run", *containers.RUN, "--rm", image.name, "config", "check")
    assert said == "the settings for production are right"
