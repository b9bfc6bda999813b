"""What is tested: this service, on free ports; the other fixtures come from twinport.testing."""

from collections.abc import Awaitable, Callable

import pytest
from twinport.testing import free

from {{ cookiecutter.__package }} import app
from {{ cookiecutter.__package }}.settings import Settings


@pytest.fixture
def required() -> dict[str, object]:
    """What has no default: {"orders.house": "Earl"}."""
    return {}


@pytest.fixture
def settings(required: dict[str, object]) -> Settings:
    return free(Settings, required)


@pytest.fixture
def build() -> Callable[..., Awaitable[None]]:
    """The wiring of app.py; another one here, for tests without its database."""
    return app.build
