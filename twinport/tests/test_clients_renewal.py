"""What a client shows and whom it trusts follows its files, without a restart."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from loguru import logger

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.clients.clients import connect
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings, ClientTls
from twinport.errors import UnavailableError
from twinport.service.ports import Ports
from twinport.tls.authority import Authority, write

from support.certified import TIMEOUT_S, Site

Call = Callable[[], Any]


def opened(ports: Ports, tls: ClientTls) -> grpc.aio.Channel:
    return connect(ClientSettings(target=f"localhost:{ports.grpc}", tls=tls), "next")


@asynccontextmanager
async def by_grpc(ports: Ports, tls: ClientTls) -> AsyncIterator[Call]:
    async with opened(ports, tls) as channel:
        list_ = OrderServiceStub(channel).ListOrders
        yield lambda: list_(pb.ListOrdersRequest())


@asynccontextmanager
async def by_rest(ports: Ports, tls: ClientTls) -> AsyncIterator[Call]:
    settings = ClientSettings(url=f"https://localhost:{ports.http}", tls=tls)
    async with HttpClient(Outgoing("next", settings, ())) as http:
        yield lambda: http.get("/v1/orders")


each_way = pytest.mark.parametrize("way", [by_grpc, by_rest])


@pytest.fixture
def site(tmp_path: Path, settings: Settings) -> Site:
    return Site(tmp_path, settings)


@pytest.fixture
async def ports(site: Site, serving: Callable[..., Any]) -> AsyncIterator[Ports]:
    """A service that wants to see certificates."""
    async with serving(site.secured(client_ca=site.ca)) as ports:
        yield ports


@pytest.fixture
def shown(site: Site) -> ClientTls:
    """The files of a client that shows a certificate."""
    write(site.authority.issue("checkout"), site.folder, "client")
    names = {"certificate": site.folder / "client.pem", "key": site.folder / "client.key"}
    return ClientTls(ca=site.ca, **names)


@pytest.fixture
async def channel(ports: Ports, shown: ClientTls) -> AsyncIterator[grpc.aio.Channel]:
    async with opened(ports, shown) as channel:
        yield channel


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that are logged."""
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


async def until_said(text: str, said: list[str], call: Call) -> None:
    """Call, in vain or not, until a line holds `text`."""
    async with asyncio.timeout(TIMEOUT_S):
        while not any(text in line for line in said):
            await attempted(call)
            await asyncio.sleep(0.05)


async def attempted(call: Call) -> None:
    with suppress(UnavailableError):
        await call()


async def renewed_beside_a_watch(channel: grpc.aio.Channel, site: Site, said: list[str]) -> Any:
    """Return the answers to a watch that began before the certificate was renewed."""
    stub: Any = OrderServiceStub(channel)
    answers = aiter(stub.WatchOrders(pb.WatchOrdersRequest()))
    await anext(answers)
    write(site.authority.issue("checkout"), site.folder, "client")
    await until_said("took the new", said, partial(stub.ListOrders, pb.ListOrdersRequest()))
    return answers


@each_way
async def test_a_new_certificate_is_shown(
    way: Any, ports: Ports, shown: ClientTls, site: Site, said: list[str]
):
    write(Authority("strange CA").issue("checkout"), site.folder, "client")
    async with way(ports, shown) as call:
        with pytest.raises(UnavailableError):
            await call()
        write(site.authority.issue("checkout"), site.folder, "client")
        await until_said("clients.next.tls: took the new certificate", said, call)
        await call()


@each_way
async def test_a_new_authority_is_trusted(
    way: Any, ports: Ports, shown: ClientTls, tmp_path: Path, said: list[str]
):
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Authority("other CA").certificate)
    async with way(ports, shown.model_copy(update={"ca": trusted})) as call:
        with pytest.raises(UnavailableError):
            await call()
        trusted.write_bytes((tmp_path / "ca.pem").read_bytes())
        await until_said("clients.next.tls: took the new certificate", said, call)
        await call()


async def test_half_of_a_rotation_changes_nothing(
    channel: grpc.aio.Channel, site: Site, said: list[str]
):
    list_, new = OrderServiceStub(channel).ListOrders, site.authority.issue("checkout")
    (site.folder / "client.pem").write_bytes(new.certificate)
    call = partial(list_, pb.ListOrdersRequest())
    await until_said("KEY_VALUES_MISMATCH; the old certificate stays", said, call)
    await call()
    write(new, site.folder, "client")
    await until_said("took the new certificate", said, call)
    await call()


async def test_a_file_that_is_gone_changes_nothing(
    channel: grpc.aio.Channel, site: Site, said: list[str]
):
    call = partial(OrderServiceStub(channel).ListOrders, pb.ListOrdersRequest())
    (site.folder / "client.key").unlink()
    await until_said("client.key; the old certificate stays", said, call)
    await call()


async def test_a_stream_goes_on_over_the_certificate_that_it_had(
    channel: grpc.aio.Channel, site: Site, said: list[str]
):
    answers = await renewed_beside_a_watch(channel, site, said)
    stub: Any = OrderServiceStub(channel)
    created = await stub.CreateOrder(pb.CreateOrderRequest(sku="tea", quantity=1))
    assert (await anext(answers)).order == created.order


async def test_all_is_closed_with_the_channel(
    ports: Ports, shown: ClientTls, site: Site, said: list[str]
):
    async with opened(ports, shown) as channel:
        answers = await renewed_beside_a_watch(channel, site, said)
    with pytest.raises(asyncio.CancelledError):
        await anext(answers)
    assert not [task for task in asyncio.all_tasks() if "_closed_later" in repr(task)]


# Over REST: connections of the old certificate end with the answers that they carry.


class Neighbour:
    """Answers what is read at once, on connections that it counts."""

    def __init__(self) -> None:
        self.opened, self.closed = 0, asyncio.Semaphore(0)
        self.rest = asyncio.Event()

    @asynccontextmanager
    async def serving(self, site: Site) -> AsyncIterator[str]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(site.folder / "server.pem", site.folder / "server.key")
        server = await asyncio.start_server(self._answer, "localhost", 0, ssl=context)
        async with server:
            yield f"https://localhost:{server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await reader.readuntil(b"\r\n\r\n"):
                await self._say(writer, is_slow=request.startswith(b"GET /slow"))
        self.closed.release()
        writer.close()

    async def _say(self, writer: asyncio.StreamWriter, *, is_slow: bool) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf")
        if is_slow:
            await self.rest.wait()
        writer.write(b"half")


@pytest.fixture
async def neighbour() -> Neighbour:
    return Neighbour()


@pytest.fixture
async def http(
    neighbour: Neighbour, site: Site, shown: ClientTls
) -> AsyncIterator[httpx2.AsyncClient]:
    async with neighbour.serving(site) as url:
        settings = ClientSettings(url=url, tls=shown)
        async with HttpClient(Outgoing("next", settings, ())) as http:
            yield http


async def test_calls_share_a_connection_until_the_certificate_is_new(
    http: httpx2.AsyncClient, neighbour: Neighbour, site: Site, said: list[str]
):
    for _ in range(3):
        await http.get("/")
    assert neighbour.opened == 1
    write(site.authority.issue("checkout"), site.folder, "client")
    await until_said("took the new certificate", said, partial(http.get, "/"))
    async with asyncio.timeout(TIMEOUT_S):
        await neighbour.closed.acquire()
    assert neighbour.opened == 2


async def test_an_answer_is_read_to_its_end_over_the_certificate_that_it_had(
    http: httpx2.AsyncClient, neighbour: Neighbour, site: Site, said: list[str]
):
    async with http.stream("GET", "/slow") as answer:
        parts = answer.aiter_bytes()
        assert await anext(parts) == b"half"
        write(site.authority.issue("checkout"), site.folder, "client")
        await until_said("took the new certificate", said, partial(http.get, "/"))
        assert neighbour.closed.locked()
        neighbour.rest.set()
        assert await anext(parts) == b"half"
    async with asyncio.timeout(TIMEOUT_S):
        await neighbour.closed.acquire()
