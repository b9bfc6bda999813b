"""Clients of both transports, which call the service under test."""

import pytest
from twinport.testing import LocalService

from .clients import Client, RestClient, RpcClient


@pytest.fixture
def rest(service: LocalService) -> RestClient:
    return RestClient(service)


@pytest.fixture
def rpc(service: LocalService) -> RpcClient:
    return RpcClient(service)


@pytest.fixture(params=[RestClient, RpcClient])
def client(request: pytest.FixtureRequest, service: LocalService) -> Client:
    return request.param(service)
