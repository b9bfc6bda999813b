"""Routing by table finds what FastAPI finds, at the same cost for any number of routes."""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import FastAPIError
from fastapi.responses import JSONResponse
from hypothesis import assume, given, strategies as st
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from twinport.auth import PUBLIC
from twinport.rest.api import Api

from support.both_ways import Application, Asked


class TwoSegments(Convertor[str]):
    """A parameter that has a slash in it."""

    regex = "[^/]+/[^/]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("two", TwoSegments())

NUMBERS = count()
Build = Callable[[Any], object]


def joined(segments: list[str]) -> str:
    return "/" + "/".join(segments)


def telling(name: str) -> Callable[[Request], Any]:
    """Return an endpoint that tells its name, and what the scope holds."""

    async def told(request: Request) -> JSONResponse:
        scope = request.scope
        parameters = {key: str(value) for key, value in scope["path_params"].items()}
        endpoint = getattr(scope["endpoint"], "__name__", None)
        return JSONResponse([name, endpoint, parameters, scope["root_path"], "router" in scope])

    told.__name__ = name
    return told


SEGMENTS = ["a", "b", "", "1", "{x}", "{x:int}", "{x:float}", "{x:uuid}", "{x:path}", "{x:two}"]
SEGMENTS += ["a{x}", "{x}a", "{y}", "{y:int}", "a.b", "{"]
TEXTS = ["a", "b", "", "1", "2.5", "ab", "a.b", "axb", "{x}", "{", "A", "a\n", "\n", "1\n", "ä"]
UUID = "01234567-89ab-cdef-0123-456789abcdef"

templates = (
    st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3)
    .map(joined)
    .filter(lambda path: path.count("{x") < 2 > path.count("{y"))
)
paths = st.lists(st.sampled_from([*TEXTS, UUID]), min_size=1, max_size=4).map(joined)
methods = st.sampled_from(["GET", "POST", "PUT"])
names = st.uuids().map(str)


def route(template: str, method: str, name: str) -> Build:
    return lambda router: router.add_api_route(template, telling(name), methods=[method])


def starlettes(template: str, method: str, name: str) -> Build:
    return lambda router: router.routes.append(Route(template, telling(name), methods=[method]))


def mount(template: str, inner: list[Build]) -> Build:
    return lambda router: router.mount(template, with_all(APIRouter(), inner))


def host(name: str, inner: list[Build]) -> Build:
    return lambda router: router.host(name, with_all(APIRouter(), inner))


def included(template: str, inner: list[Build]) -> Build:
    number = next(NUMBERS)  # so that no path has two parameters of one name
    prefix = re.sub(r"\{([xy])", rf"{{\g<1>{number}", template).rstrip("/")
    return lambda router: router.include_router(with_all(APIRouter(), inner), prefix=prefix)


def with_all(router: Any, builds: list[Build]) -> Any:
    for build in builds:
        build(router)
    return router


routes = st.builds(route, templates, methods, names) | st.builds(
    starlettes, templates, methods, names
)
anything = st.recursive(
    routes,
    lambda inner: (
        st.builds(mount, templates, st.lists(inner, max_size=3))
        | st.builds(included, templates, st.lists(inner, max_size=3))
        | st.builds(host, st.sampled_from(["both.test", "other.test"]), st.lists(inner, max_size=2))
    ),
    max_leaves=8,
)


NO_PATH = "Prefix and path cannot be both empty"


async def theirs(app: FastAPI, asked: Asked) -> tuple[int, bytes]:
    """Return what FastAPI alone answers."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(asked.scope, receive, send)
    return sent[0]["status"], sent[1]["body"] if sent[0]["status"] < HTTPStatus.BAD_REQUEST else b""


async def ours(application: Application, asked: Asked) -> tuple[int, bytes]:
    answer = await application.answer(asked)
    return answer.status, answer.body if answer.status < HTTPStatus.BAD_REQUEST else b""


class Two:
    """The same routes on an application of FastAPI alone, and on one of ours."""

    def __init__(self, builds: list[Build], root_path: str, redirects: bool) -> None:
        self._theirs = FastAPI(openapi_url=None, redirect_slashes=redirects)
        self._theirs.root_path = root_path
        with_all(self._theirs, builds)

        def build(api: Api) -> None:
            api.openapi_url, api.router.redirect_slashes = None, redirects
            with_all(api, builds)

        self._ours = Application(build, root_path=root_path)

    def add(self, builds: list[Build]) -> None:
        with_all(self._theirs, builds)
        with_all(self._ours.api, builds)

    async def check(self, asked: Asked) -> None:
        assert await ours(self._ours, asked) == await theirs(self._theirs, asked)


@given(
    st.lists(anything, max_size=5),
    st.lists(anything, max_size=2),
    st.lists(st.tuples(methods, paths), min_size=1, max_size=8),
    st.sampled_from(["", "/a"]),
    st.booleans(),
)
def test_each_request_is_answered_by_the_route_that_fastapi_finds(
    builds, late, asked, root_path, redirects
):
    async def check() -> None:
        try:
            two = Two(builds, root_path, redirects)
            for each in asked:
                await two.check(Asked(*each))
            two.add(late)
        except FastAPIError as error:
            assume(not str(error).startswith(NO_PATH))
            raise
        for each in asked:
            await two.check(Asked(*each))

    asyncio.run(check())


async def test_a_newline_at_the_end_of_a_path_is_passed_over_as_by_fastapi():
    builds = [route(path, "GET", path) for path in ("/a", "/{x:int}", "/b/{y}")]
    for path in ("/a\n", "/1\n", "/b/c\n", "/b/\n", "/a\n\n"):
        await Two(builds, "", redirects=False).check(Asked("GET", path))


# What it costs


def with_routes(number: int) -> Build:
    """Return what adds four times so many routes, each in its way, and one to be found."""

    def build(api: Api) -> None:
        for each in range(number):
            api.get(f"/v1/things{each}/{{x}}", name=f"a{each}")(one)
            api.get(f"/v1/{{x:int}}/{each}", name=f"b{each}")(one)
            api.mount(f"/m{each}", APIRouter(), f"c{each}")
            router, below = APIRouter(), APIRouter()
            router.get(f"/{{x}}/r{each}", name=f"d{each}")(one)
            below.include_router(router)
            api.include_router(below, prefix=f"/v{each}")
        api.get("/v1/things/{x}", name="found")(one)

    return build


async def one(x: str | int) -> str | int:
    """Return what was found."""
    return x


@contextmanager
def counting() -> Iterator[list[int]]:
    """Count the calls of functions, also of those written in C."""
    counted = [0]

    def note(_: Any, event: str, __: Any) -> None:
        counted[0] += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


TIMES = 5
COSTS = {
    "found": (Asked("GET", "/v1/things/1"), 200),
    "converted": (Asked("GET", "/v1/1/1"), 200),
    "included": (Asked("GET", "/v1/x/r1"), 200),
    "by another method": (Asked("POST", "/v1/things/1"), 405),
    "options": (Asked("OPTIONS", "/v1/things/1"), 204),
    "mounted": (Asked("GET", "/m1/x"), 404),
    "nowhere": (Asked("GET", "/nowhere"), 404),
}
GUARDED = {"open": None, "guarded": {"found": PUBLIC, "b1": PUBLIC, "d1": PUBLIC}}


async def calls_for(application: Application, asked: Asked) -> int:
    """Return how many calls of functions a request takes, when nothing else has its turn."""
    await application.answer(asked)
    counts = []
    for _ in range(TIMES):
        with counting() as counted:
            await application.answer(asked)
        counts.append(counted[0])
    return min(counts)


@pytest.mark.parametrize("needs", GUARDED.values(), ids=GUARDED.keys())
async def test_a_call_costs_the_same_among_8_and_among_500_routes(needs):
    few, many = (Application(build, needs) for build in (with_routes(2), with_routes(125)))
    known = ((b"authorization", b"somebody"),)
    for asked, status in COSTS.values():
        request = asked._replace(headers=known)
        assert (await few.answer(request)).status in ({status} if needs is None else {status, 403})
        assert await calls_for(few, request) == await calls_for(many, request)
