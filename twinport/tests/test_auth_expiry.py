"""A stream ends when what its caller is known by expires, on both transports."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from starlette.responses import StreamingResponse

from sample.app import build
from sample.orders.domain import NewOrder
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport import Service, needs, testing
from twinport.auth import AuthSettings
from twinport.auth.certificates import Certificates, identity
from twinport.auth.permissions import Credentials
from twinport.rest import LinesResponse
from twinport.testing import LocalService
from twinport.tls.authority import Authority

from support.issuer import AUDIENCE, ISSUER, Issuer

LIFE_S = 3  # of a token: long enough to begin a stream on a busy machine
PATIENCE_S = 20
ORDERS = "/v1/orders"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def settings(settings: Settings, issuer: Issuer, tmp_path: Path) -> Settings:
    known = {"issuer": ISSUER, "audience": AUDIENCE, "keys": str(issuer.show_in(tmp_path))}
    auth = AuthSettings.model_validate({"mode": "jwt", "leeway": "0s", **known})
    return settings.model_copy(update={"auth": auth})


async def with_streams_of_its_own(service: Service, settings: Settings) -> None:
    @service.rest.get("/endless")
    async def endless() -> StreamingResponse:
        return StreamingResponse(_forever())

    @service.rest.get("/lines")
    async def endless_lines() -> LinesResponse:
        return LinesResponse(_teas())

    service.allow({"endless": needs(), "endless_lines": needs()})
    await build(service, settings)


async def _forever() -> AsyncIterator[bytes]:
    yield b"begun\n"
    await asyncio.Event().wait()


async def _teas() -> AsyncIterator[NewOrder]:
    yield NewOrder(sku="tea", quantity=1)
    await asyncio.Event().wait()


async def requests() -> AsyncIterator[pb.QuoteOrdersRequest]:
    yield pb.QuoteOrdersRequest(sku="tea", quantity=1)
    await asyncio.Event().wait()


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[LocalService]:
    async with testing.serving(settings, with_streams_of_its_own) as service:
        yield service


@pytest.fixture
async def reflecting(settings: Settings) -> AsyncIterator[LocalService]:
    grpc_settings = settings.grpc.model_copy(update={"reflection": True})
    chosen = settings.model_copy(update={"grpc": grpc_settings})
    async with testing.serving(chosen, build) as service:
        yield service


def rest(service: LocalService, token: str) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{service.ports.http}", headers=headers, timeout=PATIENCE_S
    )


async def test_over_rest_the_problem_is_the_last_event(opened, issuer):
    token = issuer.token(exp=time.time() + LIFE_S)
    async with rest(opened, token) as http, http.stream("GET", f"{ORDERS}:watch") as answer:
        assert answer.status_code == 200
        events = (await answer.aread()).decode().strip().split("\n\n")
    assert events[-1].startswith("event: problem\n")
    assert json.loads(events[-1].partition("data: ")[2])["code"] == "UNAUTHENTICATED"
    assert [call.code for call in await opened.ended_calls()] == ["UNAUTHENTICATED"]


async def test_over_rest_the_problem_is_the_last_line(opened, issuer):
    async with rest(opened, issuer.token(exp=time.time() + LIFE_S)) as http:
        first, last = (await http.get("/lines")).text.splitlines()
    assert json.loads(first)["sku"] == "tea"
    assert json.loads(last)["code"] == "UNAUTHENTICATED"
    assert [call.code for call in await opened.ended_calls()] == ["UNAUTHENTICATED"]


async def test_over_rest_a_stream_of_another_kind_breaks_off(opened, issuer):
    token = issuer.token(exp=time.time() + LIFE_S)
    with pytest.raises(httpx2.RemoteProtocolError):
        async with rest(opened, token) as http:
            await http.get("/endless")
    assert [call.code for call in await opened.ended_calls()] == ["UNAUTHENTICATED"]


@pytest.mark.parametrize("method", ["WatchOrders", "QuoteOrders"])
async def test_over_grpc_that_is_its_status(opened, issuer, method):
    metadata = [("authorization", f"Bearer {issuer.token(exp=time.time() + LIFE_S)}")]
    request = pb.WatchOrdersRequest() if method == "WatchOrders" else requests()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{opened.ports.grpc}") as channel:
        stub: Any = OrderServiceStub(channel)
        stream = getattr(stub, method)(request, metadata=metadata, timeout=PATIENCE_S)
        await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert [call.code for call in await opened.ended_calls()] == ["UNAUTHENTICATED"]


async def test_so_is_the_end_of_a_stream_of_descriptions(reflecting, issuer):
    async def asked() -> AsyncIterator[ServerReflectionRequest]:
        yield ServerReflectionRequest(list_services="")
        await asyncio.Event().wait()

    metadata = [("authorization", f"Bearer {issuer.token(exp=time.time() + LIFE_S)}")]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{reflecting.ports.grpc}") as channel:
        stub: Any = ServerReflectionStub(channel)
        stream = stub.ServerReflectionInfo(asked(), metadata=metadata, timeout=PATIENCE_S)
        assert await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await stream.read()
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_caller_by_certificate_is_known_for_as_long_as_that_holds():
    certificate = Authority().issue("client").certificate
    who = await Certificates({})(Credentials(certificate=certificate))
    assert who.expires_at == identity(certificate).until > time.time()
