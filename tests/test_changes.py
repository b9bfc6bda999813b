"""What a team does first: delete the example, require a setting, add what needs a database."""

import re
import shutil
from pathlib import Path

import pytest

from tests.baking import NAMES, STORES, Run

_, SHORT_NAME, LONG_NAME = NAMES

APP = '''"""Composition root: the one place that knows every part of the service."""

from twinport import Service

from .settings import Settings


async def build(service: Service, settings: Settings) -> None:
    """Wire the features; what is opened here is closed in reverse order at the stop."""
'''

SETTINGS = '"""What this service can be told: the sections that every service has."""\n\n'
README = re.compile(r"^```python\n# settings.py\n(.*?)^```", re.MULTILINE | re.DOTALL)

STOCK = '''"""A feature that needs a database, which is not there."""

from pydantic import Field
from twinport import Section


class StockSettings(Section):
    """The stock."""

    database: str
    """Where the stock is kept; a secret in production."""

    pool: int = Field(default=5, ge=1)
    """The number of connections."""


async def connect(settings: StockSettings) -> None:
    """Open the database."""
    raise ConnectionError(f"nothing listens at {settings.database}")
'''


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, path
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def is_green(service: Path, run: Run) -> None:
    goals = ("lint", "types", "test")
    assert " passed" in run("make", *goals, cwd=service, WORKERS="0")  # as ours are workers


@pytest.mark.parametrize("store", STORES)
def test_the_example_can_be_deleted_without_a_trace(bake, run: Run, store: str):
    service = bake(store=store)
    for folder in ("src/order_book/orders", "proto/order_book/orders", "tests/orders"):
        shutil.rmtree(service / folder)
    shutil.rmtree(service / "proto")
    (service / "src/order_book/app.py").write_text(APP)
    (left,) = README.findall((service / "README.md").read_text())
    (service / "src/order_book/settings.py").write_text(SETTINGS + left)
    is_green(service, run)
    assert "No such file" not in run("make", "install", "wheels", cwd=service)
    run(".venv/bin/order-book", "config", "check", cwd=service)
    if store == "sql":
        assert run(".venv/bin/order-book", "migrate", cwd=service) == ""


def test_a_setting_may_be_required_and_a_feature_need_a_database_that_is_not_there(bake, run: Run):
    service = bake(service_name=LONG_NAME, store="memory")
    package = service / "src" / LONG_NAME.replace("-", "_")
    sections = package / "settings.py"  # a section with what is required has no default either
    sections.write_text(re.sub(r" = Field\(default_factory=\w+\)", "", sections.read_text()))
    replace(sections, "from pydantic import Field\n", "")
    settings = package / "orders/settings.py"
    settings.write_text(
        f'{settings.read_text().rstrip()}\n\n    house: str\n    """The tea\'s."""\n'
    )
    add_stock(package)
    require(service, '{"orders.house": "Earl", "stock.database": "db://nowhere"}')
    replace(service / "tests/conftest.py", "return app.build", "return app.wire")
    is_green(service, run)


def add_stock(package: Path) -> None:
    (package / "stock").mkdir()
    (package / "stock/__init__.py").write_text('"""The stock."""\n')
    (package / "stock/database.py").write_text(STOCK)
    settings, app = package / "settings.py", package / "app.py"
    imports = "from .stock.database import StockSettings\n"
    replace(settings, "import OrdersSettings\n", f"import OrdersSettings\n{imports}")
    settings.write_text(settings.read_text() + FIELD)
    replace(app, "from .settings import Settings\n", f"from .settings import Settings\n{CONNECT}")
    replace(app, "async def build(", "async def wire(")
    app.write_text(app.read_text() + BUILD)


FIELD = """
    stock: StockSettings
    \"\"\"The stock.\"\"\"
"""
CONNECT = "from .stock.database import connect\n"
BUILD = '''

async def build(service: Service, settings: Settings) -> None:
    """Open the database first; tests do without."""
    await connect(settings.stock)
    await wire(service, settings)
'''


def require(service: Path, values: str) -> None:
    """Tell the tests what has no default."""
    conftest = service / "tests/conftest.py"
    body = re.compile(r"(def required\(.*\n(?: .*\n)*?    return \{.*\})")
    text, count = body.subn(lambda found: f"{found[1]} | {values}", conftest.read_text())
    assert count == 1
    conftest.write_text(text)


# Of each name one store here; test_install.py has the first name with the first store.
@pytest.mark.parametrize(("name", "store"), [("orders", "sql"), (SHORT_NAME, "redis")])
def test_a_service_of_any_allowed_name_and_store_is_green(bake, run: Run, name: str, store: str):
    is_green(bake(service_name=name, store=store), run)
