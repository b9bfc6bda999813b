"""Clients of both transports, which call the service under test."""

from collections.abc import Awaitable, Callable

import pytest
from twinport import Service
from twinport.testing import LocalService

from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore

from ..database import NOWHERE
from .clients import Client, RestClient, RpcClient
from .stores import build_with


@pytest.fixture
def build(build: Callable[..., Awaitable[None]], database: str) -> Callable[..., Awaitable[None]]:
    """The wiring of app.py; where no Redis can be started, one with orders in memory."""
    return in_memory if database == NOWHERE else build


async def in_memory(service: Service, settings: object) -> None:
    store = MemoryOrderStore()
    service.on_stop(store.end_watches)
    await build_with(store)(service, settings)


@pytest.fixture
def rest(service: LocalService) -> RestClient:
    return RestClient(service)


@pytest.fixture
def rpc(service: LocalService) -> RpcClient:
    return RpcClient(service)


@pytest.fixture(params=[RestClient, RpcClient])
def client(request: pytest.FixtureRequest, service: LocalService) -> Client:
    return request.param(service)
