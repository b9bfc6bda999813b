"""A client is shared by all calls of the process, so it keeps nothing of one for the next."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import SecretStr

from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceServicer,
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service
from twinport.auth.permissions import Principal
from twinport.calls import Call, current
from twinport.clients.clients import connect
from twinport.clients.http_client import HttpClient
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.service.ports import Ports

COOKIE = "session=user-one"
SETTING = {"set-cookie": f"{COOKIE}; Path=/"}


class Upstream(OrderServiceServicer):
    """Another service: each of its answers sets a cookie, and it notes what it is sent."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.away, self.location = 0, "/set"
        vars(self).update(GetOrder=self.get_order)

    async def build(self, service: Service, settings: Settings) -> None:
        service.rest.add_api_route("/set", self.set, methods=["GET", "PUT"])
        service.rest.add_api_route("/redirect", self.redirect)
        service.rpc.add(add_OrderServiceServicer_to_server, self)

    async def set(self, request: Request) -> Response:
        self.heard.append(dict(request.headers))
        self.away -= 1
        return Response(status_code=200 if self.away < 0 else 503, headers=SETTING)

    async def redirect(self, request: Request) -> Response:
        self.heard.append(dict(request.headers))
        return RedirectResponse(self.location, headers=SETTING)

    async def get_order(self, request: pb.GetOrderRequest, context: Any) -> pb.GetOrderResponse:
        self.heard.append(dict(context.invocation_metadata()))
        await context.send_initial_metadata((*SETTING.items(), ("authorization", "Bearer one")))
        context.set_trailing_metadata((("cookie", COOKIE), ("x-request-id", "one")))
        return pb.GetOrderResponse()

    def all_of(self, name: str) -> list[str | None]:
        """Return what each call said under `name`."""
        return [headers.get(name) for headers in self.heard]


@pytest.fixture
async def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
async def other(
    upstream: Upstream, settings: Settings, serving: Callable[..., Any]
) -> AsyncIterator[Ports]:
    async with serving(settings, upstream.build) as ports:
        yield ports


@pytest.fixture
async def http(other: Ports) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(f"127.0.0.1:{other.http}") as http:
        yield http


def client_of(host: str) -> httpx2.AsyncClient:
    settings = ClientSettings(url=f"http://{host}", forward_token=True)
    return HttpClient(Outgoing("other", settings, ()))


@contextmanager
def called_by(name: str) -> Iterator[None]:
    """What is done within is done for a call of `name`, who has a token."""
    call = Call("http", "a" * 32, "b" * 16)
    call.request_id, call.principal = name, Principal(name, token=SecretStr(name))
    before = current.set(call)
    yield
    current.reset(before)


async def test_a_cookie_of_one_call_does_not_go_out_with_the_next(http, upstream):
    first = await http.get("/set")
    await http.get("/set")
    async with http.stream("GET", "/set"):
        pass
    assert first.cookies["session"] == "user-one"
    assert upstream.all_of("cookie") == [None] * 3


async def test_a_cookie_that_a_call_is_given_goes_out_with_that_call_alone(http, upstream):
    await http.get("/set", headers={"cookie": "session=own"})
    await http.get("/set")
    assert upstream.all_of("cookie") == ["session=own", None]


async def test_a_redirect_takes_no_cookie_along(http, upstream):
    answer = await http.get("/redirect", follow_redirects=True)
    assert answer.cookies["session"] == "user-one"
    assert upstream.all_of("cookie") == [None] * 2


@pytest.mark.parametrize("own", [None, "session=own"])
async def test_another_attempt_sends_what_the_first_one_did(http, upstream, own):
    upstream.away = 2
    await http.get("/set", headers={"cookie": own} if own else {})
    assert upstream.all_of("cookie") == [own] * 3


async def test_no_cookie_can_be_set_for_the_calls_of_everybody(http, upstream):
    with pytest.raises(TypeError, match="shared by all calls"):
        http.cookies.set("session", "user-one")
    with pytest.raises(TypeError, match="shared by all calls"):
        http.cookies.update({"session": "user-one"})
    with pytest.raises(TypeError, match="shared by all calls"):
        http.cookies = {"session": "user-one"}
    await http.get("/set")
    assert upstream.all_of("cookie") == [None]


async def test_a_request_that_is_sent_for_two_callers_is_sent_as_each_of_them(http, upstream):
    request = http.build_request("PUT", "/set", content=b"tea", timeout=30)
    before = dict(request.headers), dict(request.extensions)
    for name in ("one", "two"):
        with called_by(name):
            answer = await http.send(request)
        assert answer.request.content == b"tea"
    await http.send(request)
    assert upstream.all_of("authorization") == ["Bearer one", "Bearer two", None]
    assert upstream.all_of("x-request-id") == ["one", "two", None]
    assert (dict(request.headers), request.extensions) == before


async def test_the_user_of_the_url_is_for_calls_that_say_nothing_themselves(other, upstream):
    async with client_of(f"user:pw@127.0.0.1:{other.http}") as http:
        await http.get("/set", headers={"authorization": "Bearer own"})
        with called_by("one"):
            await http.get("/set")
        await http.get("/set")
        await http.get("/set", auth=("own", "pw"), headers={"authorization": "Bearer own"})
    ours, own = (f"Basic {b64encode(f'{who}:pw'.encode()).decode()}" for who in ("user", "own"))
    assert upstream.all_of("authorization") == ["Bearer own", "Bearer one", ours, own]


async def test_nobody_else_says_who_calls_or_by_which_way(other, upstream, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password pw\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with client_of(f"127.0.0.1:{other.http}") as http:
        upstream.location = f"http://eve:pw@127.0.0.1:{other.http}/set"
        await http.get("/redirect", follow_redirects=True)
    assert upstream.all_of("authorization") == [None, None]


async def test_what_a_grpc_answer_says_does_not_go_out_with_the_next_call(other, upstream):
    async with connect(ClientSettings(target=f"127.0.0.1:{other.grpc}")) as channel:
        for _ in range(2):
            await OrderServiceStub(channel).GetOrder(pb.GetOrderRequest())
    for name in ("cookie", "set-cookie", "authorization", "x-request-id"):
        assert upstream.all_of(name) == [None] * 2
