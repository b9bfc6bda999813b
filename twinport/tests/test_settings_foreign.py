"""A field may be typed by any installed package: a real one is built, installed and filled."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

STORES = {  # what another team publishes
    "pyproject.toml": """
[project]
name = "acme-stores"
version = "1.0.0"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
""",
    "acme_stores/__init__.py": '''
from dataclasses import dataclass, field

from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # as pydantic wants it before Python 3.12


class RedisSettings(BaseModel):
    host: str = "localhost"
    port: int = Field(default=6379, ge=1)
    password: str = ""
    replicas: list[str] = []


@dataclass
class Bucket:
    name: str = "orders"
    retries: int = 3
    labels: dict[str, str] = field(default_factory=dict)


class Broker(TypedDict, total=False):
    host: str
    topics: list[str]


class Pool:
    """Nothing that pydantic could fill."""
''',
}

SHOP = {  # a service that names those types and says nothing more about them
    "shop/__init__.py": "",
    "shop/settings.py": '''
from acme_stores import Broker, Bucket, Pool, RedisSettings
from pydantic import Field

from twinport.settings import Section, SettingsRoot


class Orders(Section):
    """What the orders can be told."""

    redis: RedisSettings = RedisSettings()
    """The cache."""
    bucket: Bucket = Field(default_factory=Bucket)
    """The files."""
    broker: Broker = Field(default_factory=Broker)
    """The messages."""


class Settings(SettingsRoot):
    """Everything."""

    orders: Orders = Field(default_factory=Orders)
    """The orders."""


class OrdersWithPool(Orders):
    """What the orders can be told, and what nobody can."""

    pool: Pool | None = None
    """The pool."""


class WithPool(SettingsRoot):
    """Everything, and too much."""

    orders: OrdersWithPool = Field(default_factory=OrdersWithPool)
    """The orders."""
''',
    "shop/__main__.py": """
import os
import sys

from twinport import cli

from . import settings

sys.exit(cli.main(getattr(settings, os.environ.get("MODEL", "Settings")), lambda settings: 0))
""",
    "config/default.toml": '[service]\nname = "shop"\n',
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the wheel of the other team was installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    write(source, STORES)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("dist/*.whl")
    zipfile.ZipFile(wheel).extractall(target)  # what an installer does with a wheel of pure Python
    return target


class Shop:
    """The service, started with a file of its environment and some variables."""

    def __init__(self, folder: Path, installed: Path) -> None:
        write(folder, SHOP)
        self._folder = folder
        self._path = os.pathsep.join([str(folder), str(installed), *sys.path])

    def config(self, command: str, text: str, **variables: str) -> subprocess.CompletedProcess[str]:
        write(self._folder, {"config/development.toml": text})
        return subprocess.run(
            [sys.executable, "-m", "shop", "config", *command.split()],
            cwd=self._folder,
            env={"PYTHONPATH": self._path, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def values(self, text: str, **variables: str) -> dict[str, object]:
        shown = self.config("show --json", text, **variables)
        assert shown.stderr == ""
        return {key: each["value"] for key, each in json.loads(shown.stdout).items()}


@pytest.fixture
def shop(tmp_path: Path, installed: Path) -> Shop:
    return Shop(tmp_path, installed)


TABLES = """
[orders.redis]
port = 6380
replicas = ["a", "b"]
password = "hunter2"

[orders.bucket]
name = "files"

[orders.broker]
topics = ["orders"]
"""


def test_tables_fill_the_types_of_another_package(shop):
    values = shop.values(TABLES)
    assert values["orders.redis.host"] == "localhost"
    assert (values["orders.redis.port"], values["orders.redis.replicas"]) == (6380, ["a", "b"])
    assert (values["orders.bucket.name"], values["orders.bucket.retries"]) == ("files", 3)
    assert values["orders.broker.topics"] == ["orders"]
    assert values["orders.redis.password"] == "[redacted]"


def test_variables_fill_them_too(shop):
    values = shop.values(
        TABLES,
        SHOP__ORDERS__REDIS__PORT="6381",
        SHOP__ORDERS__BUCKET__RETRIES="7",
        SHOP__ORDERS__BUCKET__LABELS='{team = "shop"}',
        SHOP__ORDERS__BROKER__TOPICS='["x"]',
    )
    assert (values["orders.redis.port"], values["orders.redis.replicas"]) == (6381, ["a", "b"])
    assert (values["orders.bucket.name"], values["orders.bucket.retries"]) == ("files", 7)
    assert values["orders.bucket.labels.team"] == "shop"
    assert values["orders.broker.topics"] == ["x"]


def test_their_own_rules_hold_and_unknown_keys_are_mistakes_there_as_well(shop):
    wrong = "[orders.redis]\nport = 0\nhots = 1\n[orders.bucket]\nnmae = 1\n[orders.broker]\nx = 1"
    checked, file = shop.config("check", wrong), "config/development.toml"
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.splitlines() == [
        f"{file}:3: orders.redis.hots: unknown key; did you mean orders.redis.host?",
        f"{file}:5: orders.bucket.nmae: unknown key; did you mean orders.bucket.name?",
        f"{file}:7: orders.broker.x: unknown key; known here: host, topics",
        f"{file}:2: orders.redis.port: must be greater than or equal to 1",
    ]


@pytest.mark.parametrize("command", ["check", "schema", "reference"])
def test_a_type_that_pydantic_does_not_know_is_one_line(shop, command):
    checked = shop.config(command, "", MODEL="WithPool")
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.startswith("orders.pool: pydantic cannot fill acme_stores.Pool | None")
    assert checked.stderr.count("\n") == 1


def test_the_reference_tells_of_them(shop):
    reference = shop.config("reference", "").stdout
    assert "#[orders.redis]" in reference
    assert "#port = 6379" in reference
    assert "#[orders.bucket]" in reference
    assert "#retries = 3" in reference
