"""The library, or a client of a service, in an index of the company's own."""

import hashlib
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.baking import TEMPLATE, Run
from tests.index import serving

LOCKS = ("requirements.lock", "requirements-dev.lock")
CLIENT = re.compile(r"^\S*order.book.client\S+ \\\n    --hash=sha256:.*\n", re.MULTILINE)
SOURCE = re.compile(r"^twinport = \{ path = .*\n", re.MULTILINE)
CALLS = """
from order_book.orders.v1.orders_pb2_grpc import OrderServiceStub
import tea_shop.app, twinport
print(OrderServiceStub.__name__, twinport.__file__)
"""


@pytest.fixture(scope="module")
def dist(run: Run) -> Path:
    """Where `make dist` leaves the library for an index."""
    run("make", "dist", cwd=TEMPLATE)
    return TEMPLATE / "dist"


def test_what_is_published_holds_the_library_and_its_licence(dist: Path):
    (wheel,), (archive,) = dist.glob("twinport-*.whl"), dist.glob("twinport-*.tar.gz")
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = TEMPLATE / "twinport/src"
    assert {str(path.relative_to(sources)) for path in sources.rglob("*.py")} <= held
    assert any(name.endswith("/licenses/LICENSE") for name in held)
    with tarfile.open(archive) as packed:
        parts = {name.split("/")[1] for name in packed.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "docs", "src"} <= parts
    assert parts.isdisjoint({"tests", ".venv", "requirements.lock"})


def test_a_service_takes_the_library_from_an_index_without_vendor_and_one_line(
    bake, dist: Path, run: Run
):
    service = bake()
    run("make", "install", cwd=service)
    before = [(service / lock).read_text() for lock in LOCKS]
    project = service / "pyproject.toml"
    shorter, count = SOURCE.subn("", project.read_text())
    assert count == 1
    project.write_text(shorter)
    run("rm", "-r", "vendor", cwd=service)
    (wheel,) = dist.glob("twinport-*.whl")
    with serving(wheel, sends_on=False) as index:
        own = {"UV_INDEX": index.url, "PIP_EXTRA_INDEX_URL": index.url}
        run("make", "lock", "install", cwd=service, **own)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    entry = re.compile(rf"^twinport==\S+ \\\n    --hash=sha256:{digest}\n", re.MULTILINE)
    after = [(service / lock).read_text() for lock in LOCKS]
    assert [entry.subn("", text) for text in after] == [(text, 1) for text in before]
    where = "import twinport; print(twinport.__file__)"
    assert "/site-packages/twinport/" in run(".venv/bin/python", "-c", where, cwd=service)
    run(".venv/bin/order-book", "config", "check", cwd=service)


def test_another_service_installs_the_client_and_asks_no_index_for_the_library(
    installed: Path, bake, run: Run
):
    run("make", "client", cwd=installed)
    (client,) = installed.glob("dist/order_book_client-*.whl")
    service = bake(service_name="tea-shop")
    need_the_client(service)
    installs_the_client(service, run, client)
    keep_in_vendor(client, service)
    installs_the_client(service, run)


def installs_the_client(service: Path, run: Run, *of_index: Path) -> None:
    with serving(*of_index, sends_on=True) as index:
        alone = {"UV_DEFAULT_INDEX": index.url, "PIP_INDEX_URL": index.url}
        run("make", "lock", "install", cwd=service, **alone)
        run("uv", "pip", "uninstall", "--python=.venv", "order-book-client", cwd=service)
        install_by_pip(CLIENT.search((service / LOCKS[0]).read_text())[0], service, run, alone)
    assert "/simple/fastapi/" in index.asked
    assert [path for path in index.asked if "twinport" in path] == []
    for lock in LOCKS:
        text = (service / lock).read_text()
        assert CLIENT.search(text)
        assert not re.search("^twinport", text, re.MULTILINE)
        assert "127.0.0.1" not in text
    said = run(".venv/bin/python", "-c", CALLS, cwd=service)
    assert said.startswith(f"OrderServiceStub {service}/vendor/twinport/src/")


def install_by_pip(entry: str, service: Path, run: Run, alone: dict[str, str]) -> None:
    """Do with one entry of a lock what `make install` does with all where there is no uv."""
    (service / "one.lock").write_text(entry)
    run(".venv/bin/python", "-m", "ensurepip", cwd=service)
    by_hash = ("--no-deps", "--require-hashes", "-r", "one.lock")
    run(".venv/bin/python", "-m", "pip", "install", *by_hash, cwd=service, **alone)


def need_the_client(service: Path) -> None:
    """Do what the README says under "Call it from another service"."""
    project = service / "pyproject.toml"
    text = project.read_text()
    text = text.replace('  "twinport[', '  "order-book-client>=0.1.0",\n  "twinport[')
    project.write_text(text)


def keep_in_vendor(client: Path, service: Path) -> None:
    """Do what it says of a company without an index."""
    (service / "vendor" / client.name).write_bytes(client.read_bytes())
    project = service / "pyproject.toml"
    line = f'order-book-client = {{ path = "vendor/{client.name}" }}\n'
    text = project.read_text().replace("[tool.uv.sources]\n", f"[tool.uv.sources]\n{line}")
    project.write_text(text)
