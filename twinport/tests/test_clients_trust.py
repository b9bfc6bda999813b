"""A client calls nobody whom it cannot trust, and says no more of it than that it is away."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.clients.clients import connect
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings, ClientTls
from twinport.errors import UnavailableError
from twinport.service.ports import Ports
from twinport.tls.authority import Authority

from support.certified import Site

Calls = tuple[Callable[[], Any], Callable[[], Any]]


@asynccontextmanager
async def calls(ports: Ports, tls: ClientTls) -> AsyncIterator[Calls]:
    """Yield a call over gRPC and the same over REST."""
    target, url = f"localhost:{ports.grpc}", f"https://localhost:{ports.http}"
    settings = ClientSettings(target=target, url=url, tls=tls)
    async with (
        connect(settings, "next") as channel,
        HttpClient(Outgoing("next", settings, ())) as http,
    ):
        list_ = OrderServiceStub(channel).ListOrders
        yield lambda: list_(pb.ListOrdersRequest()), lambda: http.get("/v1/orders")


@pytest.fixture
def site(tmp_path: Path, settings: Settings) -> Site:
    return Site(tmp_path, settings)


async def assert_nobody_is_called(ports: Ports, tls: ClientTls) -> None:
    async with calls(ports, tls) as both:
        by_grpc, by_rest = both
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await by_grpc()
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await by_rest()


async def test_who_is_certified_by_another_authority_is_not_called(
    site: Site, serving: Callable[..., Any], tmp_path: Path
):
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("other CA").certificate)
    async with serving(site.secured()) as ports:
        await assert_nobody_is_called(ports, ClientTls(ca=other))
        await assert_nobody_is_called(ports, ClientTls())  # the authorities of the system


async def test_whose_certificate_has_expired_is_not_called(site: Site, serving: Callable[..., Any]):
    site.renew(life=timedelta(hours=-1))
    async with serving(site.secured()) as ports:
        await assert_nobody_is_called(ports, ClientTls(ca=site.ca))


async def test_who_speaks_no_tls_is_not_called(site: Site, serving: Callable[..., Any]):
    async with serving(site.settings) as ports:
        await assert_nobody_is_called(ports, ClientTls(ca=site.ca))


async def test_a_client_of_a_plain_url_is_led_to_no_certificate_unseen(
    site: Site, serving: Callable[..., Any]
):
    plain = ClientSettings(url="http://localhost:1")
    async with (
        serving(site.secured()) as ports,
        HttpClient(Outgoing("next", plain, ())) as http,
    ):
        with pytest.raises(UnavailableError, match=r"^next is not available$"):
            await http.get(f"https://localhost:{ports.http}/v1/orders")
