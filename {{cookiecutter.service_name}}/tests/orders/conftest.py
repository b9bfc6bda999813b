"""The clients of both transports, connected to the real service."""

from collections.abc import AsyncIterator

import pytest
from orders.clients import Client, RestClient, RpcClient

from {{ cookiecutter.__package }}.runtime.service import Ports


@pytest.fixture
async def rest(ports: Ports) -> AsyncIterator[RestClient]:
    client = RestClient(ports)
    yield client
    await client.close()


@pytest.fixture
async def rpc(ports: Ports) -> AsyncIterator[RpcClient]:
    client = RpcClient(ports)
    yield client
    await client.close()


@pytest.fixture(params=[RestClient, RpcClient])
async def client(request: pytest.FixtureRequest, ports: Ports) -> AsyncIterator[Client]:
    client = request.param(ports)
    yield client
    await client.close()
