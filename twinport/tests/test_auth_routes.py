"""An operation of which nobody has said who may call it is closed, however its route was added."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from sample.settings import Settings
from twinport import Service
from twinport.auth import PUBLIC, AuthSettings, needs
from twinport.errors import StartupError
from twinport.service.ports import Ports

from support.certified import Site
from support.issuer import AUDIENCE, ISSUER, Issuer

SECRET = "the secret"


async def told() -> str:
    return SECRET


def told_in_a_thread() -> str:
    return SECRET


async def answered(request: Request) -> PlainTextResponse:
    return PlainTextResponse(SECRET)


async def by_hand(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(SECRET)(scope, receive, send)


class Told(HTTPEndpoint):
    async def get(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(SECRET)


class OwnRoute(BaseRoute):
    """A route that somebody has written: it has no path, no name and no methods."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return (Match.FULL if scope["path"] == "/own" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await by_hand(scope, receive, send)


def nobody() -> str:
    return "nobody"


async def told_to_somebody(who: Annotated[str, Depends(nobody)]) -> str:
    return SECRET if who == "somebody" else who


class Asked(NamedTuple):
    """A request that a route would answer with the secret."""

    path: str
    method: str = "GET"
    host: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"host": self.host} if self.host else {}


def on_the_application(rest: FastAPI) -> list[Asked]:
    rest.get("/get")(told)
    rest.post("/post")(told)
    rest.get("/thread")(told_in_a_thread)
    rest.api_route("/several", methods=["GET", "PUT"])(told)
    rest.add_api_route("/added", told)
    rest.add_route("/answered", answered)
    rest.add_route("/class", Told)
    rest.add_api_route("/path/{rest:path}", told)
    rest.add_api_route("/slash/", told)
    several = [Asked("/several"), Asked("/several", "PUT"), Asked("/several", "OPTIONS")]
    paths = ("get", "thread", "added", "answered", "class", "path/a/b", "slash/")
    return [Asked("/post", "POST"), *several, *(Asked(f"/{path}") for path in paths)]


def as_an_application_of_its_own(rest: FastAPI) -> list[Asked]:
    inner = FastAPI()
    inner.get("/get")(told)
    rest.mount("/application", inner)
    rest.mount("/hand", by_hand)
    rest.host("hosted.test", by_hand)
    rest.host("named.test", Router([Route("/get", answered)]), name="hosted")
    hosts = [Asked("/", host="hosted.test"), Asked("/get", host="named.test")]
    return [*map(Asked, ("/application/get", "/hand/a", "/application/docs")), *hosts]


def as_files(rest: FastAPI, folder: Path) -> list[Asked]:
    (folder / "file.txt").write_text(SECRET, encoding="utf-8")
    rest.mount("/files", StaticFiles(directory=folder), name="files")
    return [Asked("/files/file.txt")]


def past_the_application(rest: FastAPI) -> list[Asked]:
    rest.router.routes.append(Route("/appended", answered, methods=["GET"]))
    rest.router.routes.insert(0, OwnRoute())
    rest.router.add_route("/on-the-router", answered)
    rest.router.default = by_hand
    return [Asked("/appended"), Asked("/own"), Asked("/on-the-router"), Asked("/no-such-path")]


def by_routers(rest: FastAPI) -> list[Asked]:
    plain, outer, inner, late = (APIRouter() for _ in range(4))
    plain.get("/plain")(told)
    inner.get("/get")(told)
    inner.add_route("/answered", answered)
    inner.mount("/hand", by_hand)
    inner.routes.append(Mount("/mount", by_hand))
    inner.host("inner.test", by_hand)
    outer.include_router(inner, prefix="/inner")
    rest.include_router(plain)
    rest.include_router(outer, prefix="/outer", tags=["outer"])
    rest.include_router(outer, prefix="/again", dependencies=[Depends(nobody)])
    rest.include_router(late, prefix="/late")
    late.get("/late")(told)  # after it was included
    nested = [f"/outer/inner/{path}" for path in ("get", "answered", "hand/a", "mount/a")]
    hosted = Asked("/outer/inner/a", host="inner.test")
    return [hosted, *map(Asked, ["/plain", *nested, "/again/inner/get", "/late/late"])]


def where_pages_are(rest: FastAPI) -> list[Asked]:
    rest.post("/docs")(told)
    rest.get("/redoc")(told)
    return [Asked("/docs", "POST"), Asked("/redoc")]


def with_another_dependency(rest: FastAPI) -> list[Asked]:
    rest.get("/depending")(told_to_somebody)
    rest.dependency_overrides[nobody] = lambda: "somebody"
    return [Asked("/depending")]


class Everything:
    """A service with one route of each kind, and three that are not closed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.asked = folder, list[Asked]()

    async def build(self, service: Service, settings: Settings) -> None:
        rest = service.rest
        service.allow({"open": PUBLIC, "known": needs(), "scoped": needs("orders:read")})
        for name in ("open", "known", "scoped"):
            rest.add_api_route(f"/{name}", told, name=name)
        self.asked = [
            *on_the_application(rest),
            *as_an_application_of_its_own(rest),
            *as_files(rest, self._folder),
            *past_the_application(rest),
            *by_routers(rest),
            *where_pages_are(rest),
            *with_another_dependency(rest),
        ]


@pytest.fixture
def everything(tmp_path: Path) -> Everything:
    (tmp_path / "files").mkdir()
    return Everything(tmp_path / "files")


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def jwt(issuer: Issuer, tmp_path: Path, settings: Settings) -> Settings:
    keys = str(issuer.show_in(tmp_path))
    auth = AuthSettings(mode="jwt", issuer=ISSUER, audience=AUDIENCE, keys=keys)
    return settings.model_copy(update={"auth": auth})


@asynccontextmanager
async def calling(ports: Ports) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
        yield http


Answers = dict[Asked, tuple[int, bool]]  # status, and whether the secret is in the answer


async def answers(http: httpx2.AsyncClient, asked: list[Asked], **headers: str) -> Answers:
    found: Answers = {}
    for each in asked:
        answer = await http.request(each.method, each.path, headers=headers | each.headers)
        found[each] = answer.status_code, SECRET in answer.text
    return found


async def test_each_of_these_routes_answers_while_nobody_is_asked(everything, settings, serving):
    async with serving(settings, everything.build) as ports, calling(ports) as http:
        found = await answers(http, everything.asked)
    tells_nothing = {Asked("/several", "OPTIONS"), Asked("/application/docs")}
    assert {each for each, answer in found.items() if not answer[1]} == tells_nothing


@pytest.mark.parametrize("flags", ["00", "01"], ids=["plain", "traced"])
async def test_each_of_these_routes_is_closed(everything, jwt, issuer, serving, calls, flags):
    known = f"Bearer {issuer.token()}"
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-{flags}"}
    async with serving(jwt, everything.build) as ports, calling(ports) as http:
        unknown = await answers(http, everything.asked, **traced)
        refused = await answers(http, everything.asked, authorization=known, **traced)
    assert unknown == dict.fromkeys(everything.asked, (401, False))
    nothing_there = {
        Asked("/several", "OPTIONS"): (204, False),
        Asked("/no-such-path"): (404, False),
    }
    assert refused == dict.fromkeys(everything.asked, (403, False)) | nothing_there
    assert {call.sampled for call in calls} == {flags == "01"}


async def test_the_head_of_each_of_these_routes_is_closed(everything, jwt, serving):
    async with serving(jwt, everything.build) as ports, calling(ports) as http:
        heads = [each._replace(method="HEAD") for each in everything.asked if each.method == "GET"]
        assert set((await answers(http, heads)).values()) == {(401, False)}


@pytest.mark.parametrize("descriptions", ["authenticated", "public"])
@pytest.mark.parametrize("url", [None, "/openapi.json"])
async def test_what_the_descriptions_need_opens_nothing_else(
    everything, jwt, issuer, serving, descriptions, url
):
    async def built(service: Service, settings: Settings) -> None:
        service.rest.openapi_url = url
        await everything.build(service, settings)

    auth = jwt.auth.model_copy(update={"descriptions": descriptions})
    known = f"Bearer {issuer.token()}"
    async with (
        serving(jwt.model_copy(update={"auth": auth}), built) as ports,
        calling(ports) as http,
    ):
        found = await answers(http, everything.asked, authorization=known)
    assert not any(tells for _, tells in found.values())


async def test_what_is_open_stays_so_beside_what_is_closed(everything, jwt, issuer, serving):
    open_ones = [Asked(f"/{name}") for name in ("open", "known", "scoped")]
    known = f"Bearer {issuer.token()}"
    async with serving(jwt, everything.build) as ports, calling(ports) as http:
        unknown = await answers(http, open_ones)
        allowed = await answers(http, open_ones, authorization=known)
        wrong = await answers(http, [Asked("/open", "POST"), Asked("/open/")])
    assert [status for status, _ in unknown.values()] == [200, 401, 401]
    assert [tells for _, tells in allowed.values()] == [True] * 3
    assert [status for status, _ in wrong.values()] == [401, 401]


async def test_each_of_these_routes_is_closed_for_a_certificate_without_grants(
    everything, settings, serving, tmp_path
):
    site = Site(tmp_path, settings)
    async with serving(site.mutual({"other": set()}), everything.build) as ports:
        client = site.client(ports, site.authority.issue("client"))
        async with client.http(http2=False) as http:
            found = await answers(http, everything.asked)
            assert (await http.get("/known")).status_code == 200
    assert not any(tells for _, tells in found.values())
    assert {status for status, _ in found.values()} == {403, 404, 204}


async def test_a_route_that_is_added_while_the_service_runs_is_not_there(jwt, issuer, serving):
    services: list[Service] = []

    async def built(service: Service, settings: Settings) -> None:
        services.append(service)

    async with serving(jwt, built) as ports, calling(ports) as http:
        services[0].rest.add_api_route("/added", told)
        asked = [Asked("/added")]
        assert await answers(http, asked) == {asked[0]: (401, False)}
        known = f"Bearer {issuer.token()}"
        assert await answers(http, asked, authorization=known) == {asked[0]: (404, False)}


async def test_a_method_that_is_added_while_the_service_runs_is_not_there(jwt, issuer, serving):
    services: list[Service] = []

    async def built(service: Service, settings: Settings) -> None:
        services.append(service)
        service.rest.add_api_route("/before", told, name="before")

    async with serving(jwt, built) as ports, calling(ports) as http:
        services[0].rest.add_api_route("/before", told, methods=["POST"])
        known = {"authorization": f"Bearer {issuer.token()}"}
        answer = await http.post("/before", headers=known)
    assert answer.status_code == 405


async def test_the_guard_does_not_hang_on_how_the_router_of_the_framework_calls_itself(
    everything, jwt, serving, monkeypatch
):
    async def call(self: Router, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    monkeypatch.setattr(Router, "__call__", call)
    async with serving(jwt, everything.build) as ports, calling(ports) as http:
        assert set((await answers(http, everything.asked)).values()) == {(401, False)}


Mounting = Callable[[FastAPI], object]
TWICE: list[Mounting] = [
    lambda rest: [rest.mount(f"/{each}", by_hand, name="files") for each in ("one", "other")],
    lambda rest: [rest.mount("/one", by_hand, name="files"), rest.host("a", by_hand, "files")],
]


@pytest.mark.parametrize("mount", TWICE)
async def test_one_name_for_two_applications_is_noticed_at_start(mount, settings, serving):
    async def built(service: Any, settings: Settings) -> None:
        mount(service.rest)
        service.allow({"files": PUBLIC})

    with pytest.raises(StartupError, match="files needs, but two operations have that name"):
        async with serving(settings, built):
            pass
