"""The wheel for those who call this service, as `make client` builds it."""

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from twinport.testing import Serving, own_environment

import {{ cookiecutter.__package }} as package

from .stores import SlowStore, build_with

HOME = Path(__file__).parents[2]
CALLER = Path(__file__).with_name("caller.py")
DEADLINE_S, WITHOUT_S = 0.5, 5  # without one of their own, calls have five seconds

BEGIN = """
import runpy, sys
first, own, program, *arguments = sys.argv[1:]
sys.path = [first, *(each for each in sys.path if each != own)]
sys.argv = [program, *arguments]
runpy.run_path(program, run_name="__main__")
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


def call(site: Path, *arguments: str) -> dict:
    """Run the other service, which has our wheel and none of our sources."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", BEGIN, site, HOME / "src", CALLER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=own_environment(),
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_another_service_calls_this_one_and_shares_errors_deadlines_and_ids(
    site: Path, serving: Serving
):
    async with serving(build=build_with(SlowStore())) as service:
        told = (f"localhost:{service.ports.grpc}", f"{DEADLINE_S}s", "a-request-of-theirs")
        seen = await asyncio.to_thread(call, site, *told)
        calls = await service.ended_calls(2)
    absent, slow = seen["answers"]
    assert absent == "no such order"  # by NotFoundError, as raised here
    assert slow["code"] == "DEADLINE_EXCEEDED"
    assert DEADLINE_S <= seen["took_s"][1] < WITHOUT_S
    assert {call.request_id for call in calls} == {"a-request-of-theirs"}
    assert Path(seen["generated"]).is_relative_to(site)


def test_the_wheel_and_the_service_load_in_one_process(site: Path):
    folders = [str(site), str(HOME / "src")]
    name = f"{package.__name__}.orders.v1.orders_pb2"
    program = f"import sys; sys.path[:0] = {folders}; import {package.__name__}.app, {name} as pb"
    command = [sys.executable, "-P", "-c", f"{program}; print(pb.__file__)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(HOME / "src")  # one copy only: that of the service


def test_the_wheel_is_typed_and_holds_no_more_than_the_generated_code(site: Path):
    (typed,) = site.rglob("py.typed")
    sources = {path for path in site.rglob("*.py*") if path.suffix != ".pyc"}
    assert {path.parent for path in sources} == {typed.parent}
    assert [path.name for path in typed.parent.glob("*_pb2.py")] == ["orders_pb2.py"]


def test_the_wheel_needs_what_the_service_was_tested_with():
    ours, theirs = (
        tomllib.loads((HOME / file).read_text(encoding="utf-8"))["project"]["dependencies"]
        for file in ("pyproject.toml", "client/pyproject.toml")
    )
    assert set(theirs) <= {re.sub(r"\[.*?\]", "", need) for need in ours}
