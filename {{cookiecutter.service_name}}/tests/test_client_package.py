"""The wheel for those who call this service, as `make client` builds it."""

import asyncio
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

import {{ cookiecutter.__package }} as package
from {{ cookiecutter.__package }}.runtime.service import Ports

HOME = Path(__file__).parents[1]
NAME = package.__name__

CALLER = """
import asyncio, sys
from importlib import import_module

client = import_module(f"{sys.argv[1]}_client")
pb = import_module(f"{sys.argv[1]}.orders.v1.orders_pb2")
stubs = import_module(f"{sys.argv[1]}.orders.v1.orders_pb2_grpc")


async def main():
    async with client.connect(client.ClientSettings(target=sys.argv[2]), "orders") as channel:
        stub = stubs.OrderServiceStub(channel)
        created = await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=2))
        print(created.order.sku, created.order.quantity)
        try:
            await stub.CreateOrder(pb.CreateOrderRequest(sku="tea"))
        except client.errors.InvalidArgumentError as error:
            print(*(violation.field for violation in error.fields))
    print(pb.__file__)


asyncio.run(main())
"""

LOADS_BOTH = """
import sys
from importlib import import_module

app = import_module(f"{sys.argv[1]}.app")
client = import_module(f"{sys.argv[1]}_client")
pb = import_module(f"{sys.argv[1]}.orders.v1.orders_pb2")
print(pb.__file__, client.__file__, sep="\\n")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("client")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}  # protoc looks for its plugins
    subprocess.run(build, cwd=HOME / "client", env=path, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(program: str, *arguments: str, path: list[Path]) -> str:
    """Run a program that sees only the libraries and the folders in `path`, in this order."""
    first, own = [str(folder) for folder in path], str(HOME / "src")
    begin = f"import sys\nsys.path = {first} + [each for each in sys.path if each != {own!r}]\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", begin + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_another_service_calls_this_one_with_nothing_but_the_wheel(site: Path, ports: Ports):
    target = f"localhost:{ports.grpc}"
    said = await asyncio.to_thread(run, CALLER, NAME, target, path=[site])
    order, wrong, generated = said.splitlines()
    assert (order, wrong) == ("tea 2", "quantity")
    assert Path(generated).is_relative_to(site)


@pytest.mark.parametrize("first", ["service", "client"])
def test_the_wheel_and_the_service_load_in_one_process(site: Path, first: str):
    path = [HOME / "src", site]
    said = run(LOADS_BOTH, NAME, path=path if first == "service" else path[::-1])
    generated, client = map(Path, said.splitlines())
    assert generated.is_relative_to(HOME / "src")  # one copy only: that of the service
    assert client.is_relative_to(site)


def test_the_wheel_is_typed_and_small(site: Path):
    typed = {str(marker.parent.relative_to(site)) for marker in site.rglob("py.typed")}
    assert typed == {f"{NAME}_client", f"{NAME}/orders/v1"}
    assert not list(site.rglob("app.py"))
    assert sum(path.stat().st_size for path in site.rglob("*.py")) < 170_000


def test_the_wheel_needs_what_the_service_was_tested_with():
    ours, theirs = (
        tomllib.loads((HOME / file).read_text(encoding="utf-8"))["project"]["dependencies"]
        for file in ("pyproject.toml", "client/pyproject.toml")
    )
    ours = [re.sub("^opentelemetry-sdk", "opentelemetry-api", need) for need in ours]
    assert set(theirs) <= set(ours)
