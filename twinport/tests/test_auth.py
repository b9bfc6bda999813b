"""Who may call what, alike on both transports, with tokens of a real issuer."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from fastapi import APIRouter
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from jsonschema import Draft202012Validator
from starlette.staticfiles import StaticFiles

import sample as package
from sample.app import build
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport import Service
from twinport.auth import PUBLIC, AuthSettings, Principal, bearer, needs, principal
from twinport.auth.permissions import Credentials, Guard
from twinport.calls import Call
from twinport.clients.settings import ClientSettings
from twinport.errors import (
    InsufficientScopeError,
    PermissionDeniedError,
    SettingsError,
    StartupError,
)
from twinport.service.ports import Ports
from twinport.settings import Identity, Section, Sources, load
from twinport.testing import FakeZipkin

from support.callers import TEA, ByRest, ByRpc
from support.issuer import AUDIENCE, ISSUER, Issuer
from support.process import started

OPENAPI = files("twinport.testing") / "openapi-3.1.json"
KINDS = [ByRest, ByRpc]


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def auth(issuer: Issuer, tmp_path: Path) -> dict[str, Any]:
    keys = str(issuer.show_in(tmp_path))
    return {"mode": "jwt", "issuer": ISSUER, "audience": AUDIENCE, "keys": keys}


@pytest.fixture
def settings(settings: Settings, auth: dict[str, Any]) -> Settings:
    reflecting = settings.grpc.model_copy(update={"reflection": True})
    return changed(settings, auth=AuthSettings(**auth), grpc=reflecting)


def changed(settings: Settings, **sections: Section) -> Settings:
    return settings.model_copy(update=sections)


@pytest.fixture(params=KINDS)
async def caller(request: pytest.FixtureRequest, ports: Ports) -> AsyncIterator[ByRest | ByRpc]:
    caller = request.param(ports)
    yield caller
    await caller.close()


CASES = [  # operation, scopes of the token or None for no token, code
    ("ListOrders", None, "UNAUTHENTICATED"),
    ("ListOrders", "orders:read", "OK"),
    ("ListOrders", "orders:write", "PERMISSION_DENIED"),
    ("ListOrders", "", "PERMISSION_DENIED"),
    ("CreateOrder", None, "UNAUTHENTICATED"),
    ("CreateOrder", "orders:read", "PERMISSION_DENIED"),
    ("CreateOrder", "orders:write", "OK"),
    ("WatchOrders", None, "UNAUTHENTICATED"),
    ("WatchOrders", "orders:write", "PERMISSION_DENIED"),
    ("WatchOrders", "orders:read", "OK"),
    ("NoSuchOperation", None, "UNAUTHENTICATED"),
    ("NoSuchOperation", "orders:read", "NOT_FOUND"),
]


async def test_a_scope_opens_what_it_names_and_nothing_else(issuer, caller):
    for operation, scopes, code in CASES:
        tokens = [] if scopes is None else [issuer.token(scope=scopes)]
        assert await caller.call(operation, *tokens) == code, (operation, scopes)


async def test_the_observers_hear_who_called(issuer, caller, calls):
    await caller.call("ListOrders", token := issuer.token(sub="bob"))
    (call,) = calls
    assert str(call.principal) == "bob"
    assert token not in repr(call)


async def test_who_lacks_a_scope_reads_which_and_so_does_the_log(issuer, ports, calls):
    token = issuer.token(scope="orders:read")
    with_token = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=with_token) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        answer = await http.post(f"http://127.0.0.1:{ports.http}/v1/orders", json=TEA)
        stub: Any = OrderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateOrder(pb.CreateOrderRequest(**TEA), metadata=[*with_token.items()])
    missing = "not allowed: it needs orders:write"
    challenge = 'Bearer error="insufficient_scope", scope="orders:write"'
    assert (answer.status_code, answer.headers["www-authenticate"]) == (403, challenge)
    assert [answer.json()["detail"], refused.value.details()] == [missing] * 2
    assert [call.reason for call in calls] == [missing] * 2


async def test_a_challenge_names_all_scopes_that_a_header_can_hold():
    async def authenticate(_: object) -> Principal:
        return Principal("ann", frozenset({"b"}))

    call, needed = Call("http", "a" * 32, "b" * 16), needs("b", "a", 'x" y', "é")
    for has_tokens, challenge in [
        (True, 'Bearer error="insufficient_scope", scope="a b"'),
        (False, ""),
    ]:
        with pytest.raises(InsufficientScopeError) as refused:
            await Guard(authenticate, has_tokens).admit(call, needed, Credentials())
        assert refused.value.challenge == challenge
    with pytest.raises(PermissionDeniedError, match=r"\Anot allowed\Z"):
        await Guard(authenticate, True).admit(call, None, Credentials())
    assert call.reason == "closed: app.py does not say what it needs"


async def test_the_log_says_why_a_token_is_not_believed(issuer, caller, calls):
    expired = issuer.token(exp=time.time() - 60)
    for tokens in ([], [expired], [issuer.token(aud="other")], [issuer.token({"kid": "x"})]):
        assert await caller.call("ListOrders", *tokens) == "UNAUTHENTICATED"
    assert [call.reason for call in calls] == [
        "a bearer token is needed",
        "the token is not valid: ExpiredSignatureError",
        "the token is not valid: InvalidAudienceError",
        "the token is not valid: unknown key",
    ]


async def test_two_tokens_are_none(issuer, caller):
    assert await caller.call("ListOrders", issuer.token(), issuer.token()) == "UNAUTHENTICATED"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_operation_of_which_nobody_says_anything_is_closed(
    kind, issuer, settings, serving
):
    async def silent(service: Any, settings: Settings) -> None:
        service.allow = lambda _: None
        await build(service, settings)

    async with serving(settings, silent) as ports:
        caller = kind(ports)
        assert await caller.call("ListOrders") == "UNAUTHENTICATED"
        assert await caller.call("ListOrders", issuer.token()) == "PERMISSION_DENIED"
        await caller.close()


async def test_a_route_is_closed_open_or_asks_who_is_there(issuer, settings, serving):
    seen: list[object] = []

    async def look() -> None:
        who, token = principal(), bearer()
        seen.append((str(who), token and token.get_secret_value()))

    async def built(service: Any, settings: Settings) -> None:
        await build(service, settings)
        for name in ("silent", "open", "known"):
            service.rest.add_api_route(f"/{name}", look, name=f"look_{name}")
        service.allow({"LookOpen": PUBLIC, "LookKnown": needs()})

    async with (
        serving(settings, built) as ports,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http,
    ):
        with_token = {"authorization": f"bearer {(token := issuer.token(scope=None))}"}
        names = ("silent", "open", "known")
        assert [(await http.get(f"/{n}")).status_code for n in names] == [401, 200, 401]
        answers = [await http.get(f"/{n}", headers=with_token) for n in names]
        assert [answer.status_code for answer in answers] == [403, 200, 200]
        assert seen == [("None", None), ("None", None), ("alice", token)]
        assert (await http.post("/open")).status_code == 401
        assert (await http.post("/open", headers=with_token)).status_code == 405


async def test_files_are_closed_too(issuer, settings, serving, tmp_path):
    (tmp_path / "index.html").write_text("secret", encoding="utf-8")

    async def built(service: Any, settings: Settings) -> None:
        await build(service, settings)
        service.rest.mount("/files", StaticFiles(directory=tmp_path), name="files")

    async with (
        serving(settings, built) as ports,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http,
    ):
        known = {"authorization": f"Bearer {issuer.token()}"}
        assert (await http.get("/files/index.html")).status_code == 401
        assert (await http.get("/files/index.html", headers=known)).status_code == 403


@pytest.mark.parametrize("included", [False, True])
async def test_a_frontend_that_nobody_could_open_ends_the_start(
    settings, serving, tmp_path, included
):
    async def built(service: Any, settings: Settings) -> None:
        router = APIRouter()
        (router if included else service.rest).frontend("/", directory=tmp_path)
        service.rest.include_router(router)

    with pytest.raises(StartupError, match=r"frontend would be closed to all.*StaticFiles"):
        async with serving(settings, built):
            """Nothing is served."""


async def test_http_says_how_to_identify_oneself(issuer, ports):
    async with httpx2.AsyncClient() as http:
        url = f"http://127.0.0.1:{ports.http}/v1/orders"
        challenges = [
            (await http.get(url, headers={"authorization": text})).headers["www-authenticate"]
            for text in ("", "Basic YTpi", "Bearer", "Bearer x.y.z")
        ]
    bad = 'Bearer error="invalid_token"'
    assert challenges == ["Bearer", "Bearer", bad, bad]


@pytest.mark.parametrize(("descriptions", "status"), [("authenticated", 401), ("public", 200)])
async def test_descriptions_have_a_rule_of_their_own(
    descriptions, status, auth, settings, issuer, serving
):
    chosen = AuthSettings(**auth, descriptions=descriptions)
    async with (
        serving(changed(settings, auth=chosen)) as ports,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        for path in ("/docs", "/openapi.json"):
            assert (await http.get(path)).status_code == status
            known = {"authorization": f"Bearer {issuer.token(scope=None)}"}
            assert (await http.get(path, headers=known)).status_code == 200
        assert (await reflected(channel)) == ("OK" if status == 200 else "UNAUTHENTICATED")
        assert (await reflected(channel, issuer.token(scope=None))) == "OK"


async def reflected(channel: grpc.aio.Channel, *tokens: str) -> str:
    metadata = [("authorization", f"Bearer {token}") for token in tokens]
    request = ServerReflectionRequest(list_services="")
    call: Any = ServerReflectionStub(channel).ServerReflectionInfo(
        iter([request]), metadata=metadata
    )
    try:
        await call.read()
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return "OK"


async def test_health_is_for_everybody(ports):
    async with (
        httpx2.AsyncClient() as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        for path in ("livez", "readyz"):
            url = f"http://127.0.0.1:{ports.management}/{path}"
            assert (await http.get(url)).status_code == 200
        answer = await HealthStub(channel).Check(HealthCheckRequest())
        assert answer.status == HealthCheckResponse.SERVING


async def test_openapi_says_which_scope_an_operation_needs(issuer, ports):
    async with httpx2.AsyncClient() as http:
        url = f"http://127.0.0.1:{ports.http}/openapi.json"
        answer = await http.get(url, headers={"authorization": f"Bearer {issuer.token()}"})
    document = answer.json()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    orders = document["paths"]["/v1/orders"]
    assert orders["get"]["security"] == [{"bearer": ["orders:read"]}]
    assert orders["post"]["security"] == [{"bearer": ["orders:write"]}]
    assert {"401", "403"} <= orders["get"]["responses"].keys()
    schema = json.loads(OPENAPI.read_text(encoding="utf-8"))
    assert [e.message for e in Draft202012Validator(schema).iter_errors(document)] == []


@pytest.mark.parametrize("auth", [{}])
async def test_without_auth_openapi_asks_for_nothing(ports):
    async with httpx2.AsyncClient() as http:
        document = (await http.get(f"http://127.0.0.1:{ports.http}/openapi.json")).json()
    assert "securitySchemes" not in document["components"]
    assert "security" not in document["paths"]["/v1/orders"]["get"]


TABLES = [  # what app.py says, and what is wrong with it
    ({"GetOrdr": needs("orders:read")}, "GetOrdr needs, but there is no such operation"),
    ({"GetOrder": PUBLIC}, "says twice what GetOrder needs"),
]


@pytest.mark.parametrize("auth", [{}])
@pytest.mark.parametrize(("table", "line"), TABLES)
async def test_a_misspelt_operation_is_noticed_at_start(table, line, settings, serving):
    async def built(service: Any, settings: Settings) -> None:
        await build(service, settings)
        service.allow(table)

    with pytest.raises(StartupError, match=line):
        async with serving(settings, built):
            pass


async def test_one_name_for_two_routes_is_noticed_at_start(settings, serving):
    async def one() -> None: ...
    async def other() -> None: ...

    async def built(service: Any, settings: Settings) -> None:
        await build(service, settings)
        service.rest.add_api_route("/one", one, name="look")
        service.rest.add_api_route("/other", other, name="look")
        service.allow({"Look": PUBLIC})

    with pytest.raises(StartupError, match="Look needs, but two operations have that name"):
        async with serving(settings, built):
            pass


WRONG = [  # in the table [auth], the key that is named
    ('mode = "jwt"', "issuer"),
    ('mode = "jwt"\nissuer = "x"\nkeys = "y"', "audience"),
    ('keys = "http://issuer.test/jwks"', "keys"),
    ('keys = "file:///etc/keys"', "keys"),
    ('algorithms = ["HS256"]', "algorithms.0"),
    ('algorithms = ["none"]', "algorithms.0"),
    ("algorithms = []", "algorithms"),
    ('leeway = "1h"', "leeway"),
    ('grants."*" = ["orders:read"]', "grants"),
]


@pytest.mark.parametrize(("chosen", "key"), WRONG)
def test_settings_that_would_let_others_in_are_refused(chosen, key, tmp_path):
    (tmp_path / "default.toml").write_text('[service]\nname = "x"\n', encoding="utf-8")
    (tmp_path / "test.toml").write_text(f"[auth]\n{chosen}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        load(Settings, Sources(package.__name__, tmp_path, "test", variables={}))
    line, *_ = refused.value.mistakes
    assert line.startswith(f"{tmp_path}/test.toml:")
    assert f": auth.{key}: " in line


SECRET = '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'
BEGUN = "-----BEGIN PUBLIC KEY-----"
ODD = '{"keys": [{"kty": []}]}'


@pytest.mark.parametrize("content", [None, "", "{}", '{"keys": []}', SECRET, BEGUN, ODD])
async def test_a_key_file_without_keys_is_one_line_at_start(
    content, auth, settings, tmp_path, serving
):
    path = tmp_path / "other.json"
    wrong = AuthSettings(**auth | {"keys": str(path)})
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(StartupError, match=rf"\Aauth\.keys: {path}: [^\n]+\Z"):
        async with serving(changed(settings, auth=wrong)):
            pass


WARNINGS = [
    ("production", {}, 1),
    ("staging", {}, 1),
    ("production", {"allow_none": True}, 0),
    ("development", {}, 0),
]


@pytest.mark.parametrize(("environment", "chosen", "lines"), WARNINGS)
def test_no_authentication_in_production_is_one_warning(environment, chosen, lines, settings):
    identity = Identity(name="x", environment=environment)
    said = changed(settings, auth=AuthSettings(**chosen), service=identity).warnings()
    assert len([line for line in said if line.startswith("auth.")]) == lines


def test_the_middle_may_ask_for_the_principal_without_loading_a_transport():
    probe = "import sys, twinport.auth; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert not {"grpc", "fastapi", "starlette", "httpx2", "hypercorn"} & set(done.stdout.split())
    assert principal() is None
    assert bearer() is None


async def test_no_token_is_in_any_log_line_or_span(auth, issuer):
    chosen = {f"auth__{key}": value for key, value in auth.items()}
    chosen |= {"logs__level": "TRACE", "traces__exporter": "zipkin"}
    good, bad = issuer.token(), issuer.token(aud="other")
    with FakeZipkin() as collector:
        seen = await said_of_calls(good, bad, chosen | {"traces__endpoint": collector.endpoint})
        seen += str(collector.wait_for_count(4))
    assert "alice" in seen
    for token in (good, bad):
        assert not [part for part in token.split(".")[1:] if part in seen]


async def said_of_calls(good: str, bad: str, chosen: dict[str, str]) -> str:
    """Return what a process writes while it is called with both tokens on both transports."""
    async with started(**chosen, traces__sample_ratio="1.0") as service:
        ports = await service.ports()
        for caller in (ByRest(ports), ByRpc(ports)):
            assert await caller.call("ListOrders", good) == "OK"
            assert await caller.call("ListOrders", bad) == "UNAUTHENTICATED"
            await caller.close()
        service.terminate()
        await service.exit_status()
    return "\n".join([*service.plain, *map(str, service.lines)])


@pytest.mark.parametrize(("is_forwarded", "code"), [(True, "OK"), (False, "UNAUTHENTICATED")])
async def test_the_next_service_knows_the_caller_only_if_the_token_is_sent_on(
    serving, settings, issuer, calls, is_forwarded, code
):
    headers = {"authorization": f"Bearer {issuer.token(scope='orders:read')}"}
    async with serving(settings) as last, httpx2.AsyncClient(headers=headers) as http:
        calling = changed(settings, clients={"next": client_of(last, is_forwarded)})
        async with serving(calling, calling_both) as first:
            await http.get(f"http://127.0.0.1:{first.http}/rpc")
            await http.get(f"http://127.0.0.1:{first.http}/rest")
    assert [(call.transport, call.code) for call in calls[::2]] == [("grpc", code), ("http", code)]
    assert [str(call.principal) for call in calls[1::2]] == ["alice"] * 2


def client_of(ports: Ports, is_forwarded: bool) -> ClientSettings:
    grpc_port, url = f"127.0.0.1:{ports.grpc}", f"http://127.0.0.1:{ports.http}"
    return ClientSettings(target=grpc_port, url=url, forward_token=is_forwarded)


async def calling_both(service: Service, settings: Settings) -> None:
    """Add two routes that only hand the question on."""
    stub: Any = OrderServiceStub(service.client("next"))
    http = service.http_client("next")

    @service.rest.get("/rpc")
    async def by_rpc() -> None:
        await stub.ListOrders(pb.ListOrdersRequest())

    @service.rest.get("/rest")
    async def by_rest() -> None:
        await http.get("/v1/orders")

    service.allow({"by_rpc": needs(), "by_rest": needs()})


async def test_calls_at_once_do_not_see_each_other(issuer, caller, calls):
    names = [f"caller-{number}" for number in range(20)]
    tokens = [issuer.token(sub=name) for name in names]
    await asyncio.gather(*(caller.call("ListOrders", token) for token in tokens))
    assert sorted(str(call.principal) for call in calls) == sorted(names)
