"""A service's own tests of its store, on a real PostgreSQL instead of a file."""

from pathlib import Path

import pytest

from tests.baking import Run
from tests.stores.servers import Server

pytestmark = pytest.mark.stores

TESTS = ("tests/test_schema.py", "tests/orders/test_sql.py", "tests/orders/test_store.py")


def test_what_a_service_says_of_its_store_holds_on_postgresql(
    services: dict[str, Path], postgresql: Server, run: Run
):
    python = services["sql"] / ".venv/bin/python"
    command = (python, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", *TESTS)
    said = run(*command, cwd=services["sql"], TEST_POSTGRESQL=postgresql.url)
    assert " passed" in said
    assert " skipped" not in said, said  # as some tests need a server
