"""The fast path answers as FastAPI does, byte for byte, and leaves to FastAPI what it cannot do."""

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import fastapi.routing
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    Query,
    Request,
    Response,
)
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from hypothesis import example, given, strategies as st
from loguru import logger
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import from_json
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import Route

from twinport.auth import PUBLIC, needs
from twinport.errors import NotFoundError
from twinport.rest.api import Api
from twinport.validation import LARGE_BYTES

from support.both_ways import Answered, Application, Asked
from support.places import SAMPLE


class Colour(Enum):
    """One of two."""

    RED = "red"
    BLUE = "blue"


class Item(BaseModel, extra="forbid"):
    """A body, and an answer."""

    sku: str = Field(min_length=1)
    quantity: int = Field(1, alias="many", gt=0)
    prices: list[float] = []
    parent: "Item | None" = None


@dataclass
class Point:
    """A body, and an answer."""

    x: float
    y: Decimal = Decimal(1)


def even(value: int) -> int:
    """Refuse what is odd, and fail on 13."""
    if value == 13:
        raise KeyError("a validator with a bug")
    if value % 2:
        raise ValueError("odd")
    return value


EMPTY = inspect.Parameter.empty
SCALARS = [str, int, float, bool, Decimal, UUID, date, datetime, Colour, Literal["red", "blue"]]
SCALARS += [Annotated[int, AfterValidator(even)], int | None, int | str]
SCALARS += [Annotated[str, Field(min_length=2)]]
QUERIES = [*SCALARS, list[int], list[str] | None]
DEFAULTS = [EMPTY, EMPTY, None, "a", 7]
BODIES = [Item, Point, list[int], list[Item], dict[str, int], Item | Point, int, str, Any, bytes]
BODIES += [Item | None, tuple[int, str], datetime]
WHAT_IS_TOLD = (*(each for each in SCALARS if isinstance(each, type)), BaseModel, Point, list)

Given = Mapping[str, Any]


def told(given: Given) -> str:
    return json.dumps(
        {key: repr(each) for key, each in given.items() if isinstance(each, WHAT_IS_TOLD)}
    )


class RefusedError(Exception):
    """An error that the application has a handler for."""


def fails(error: Exception) -> Callable[[Given], Any]:
    def work(given: Given) -> Any:
        raise error

    return work


# What functions return, by their types.
ANSWERS: dict[str, tuple[Any, Callable[[Given], Any]]] = {
    "text": (str, told),
    "list": (list[str], lambda given: [told(given)]),
    "item": (Item, lambda given: Item(sku=told(given), many=2)),
    "item of a dict": (Item, lambda given: {"sku": told(given), "many": 3}),
    "item of attributes": (Item, lambda given: SimpleNamespace(sku=told(given), many=4)),
    "point": (Point, lambda given: Point(float("nan"), Decimal("1.50"))),
    "nothing": (Item | None, lambda given: None),
    "anything": (Any, lambda given: {"at": date(2026, 1, 2), "set": {2.5}}),
    "no type": (EMPTY, lambda given: {"a": 1}),
    "wrong": (Item, lambda given: {"sku": ""}),
    "unwritable": (Any, lambda given: object()),
    "response": (Item, lambda given: PlainTextResponse(told(given), 202, {"x-own": "1"})),
    "stream": (str, lambda given: StreamingResponse(iter([b"a", b"b"]))),
    "response alone": (Response, lambda given: PlainTextResponse("plain")),
    "not found": (str, fails(NotFoundError("no such thing"))),
    "http": (str, fails(HTTPException(418, "teapot", {"x-tea": "1"}))),
    "handled": (str, fails(RefusedError())),
    "bug": (str, fails(KeyError("bug"))),
    "its own error": (str, fails(ValueError("of the function"))),
}
# What else they take: of that the fast path does nothing.
MORE: dict[str, Given] = {
    "dependency": {"d": (Annotated[str, Depends(lambda: "d")], EMPTY)},
    "header": {"h": (Annotated[str, Header()], "none")},
    "cookie": {"c": (Annotated[str, Cookie()], "none")},
    "request": {"r": (Request, EMPTY)},
    "response": {"r": (Response, EMPTY)},
    "tasks": {"t": (BackgroundTasks, EMPTY)},
    "second body": {"s": (Annotated[int, Body()], 1)},
    "embedded body": {"s": (Annotated[int, Body(embed=True)], 1)},
    "made anew": {"m": (Annotated[int, Query(default_factory=lambda: 5)], EMPTY)},
    "model": {"m": (Annotated[Item, Query()], EMPTY)},
}
OPTIONS: dict[str, Given] = {
    "created": {"status_code": 201},
    "class": {"response_class": JSONResponse},
    "excluded": {"response_model_exclude": {"sku"}},
    "unset": {"response_model_exclude_unset": True},
    "by name": {"response_model_by_alias": False},
    "dependencies": {"dependencies": [Depends(lambda: None)]},
}


class Operation(NamedTuple):
    """A route to be made: its place is the application, a router or a mounted application."""

    method: str
    path: Sequence[Any]
    query: Sequence[tuple[Any, Any]]
    body: Any
    answer: str
    more: str
    options: str
    place: str
    is_threaded: bool

    def add(self, api: Any, number: int) -> None:
        """Add the route, whose function has a name of its own."""
        router = {"": lambda: api, "mount": FastAPI}.get(self.place, APIRouter)()
        path = "".join(f"/{{p{each}}}" for each in range(len(self.path)))
        add = getattr(router, self.method.lower())
        add(f"/o{number}{path}", **OPTIONS.get(self.options, {}))(self.function(number))
        if self.place == "mount":
            api.mount("/mount", router, name=f"mount{number}")
        elif self.place:
            outer = APIRouter()
            outer.include_router(router, prefix="/inner")
            api.include_router(outer, prefix="/{tenant}")

    def function(self, number: int) -> Any:
        annotation, work = ANSWERS[self.answer]
        made = _in_a_thread(work) if self.is_threaded else _coroutine(work)
        taken = {
            **{f"p{at}": (kind, EMPTY) for at, kind in enumerate(self.path)},
            **{f"q{at}": each for at, each in enumerate(self.query)},
            **({} if self.body is None else {"body": (Annotated[self.body, Body()], EMPTY)}),
            **MORE.get(self.more, {}),
        }
        made.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=at)
                for name, (kind, at) in taken.items()
            ],
            return_annotation=annotation,
        )
        made.__name__ = f"operation{number}"
        return made


def _coroutine(work: Callable[[Given], Any]) -> Any:
    async def function(**given: Any) -> Any:
        return work(given)

    return function


def _in_a_thread(work: Callable[[Given], Any]) -> Any:
    def function(**given: Any) -> Any:
        return work(given)

    return function


SOME_SCALARS = st.sampled_from([*SCALARS, *[str] * 10])
operations = st.builds(
    Operation,
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.lists(SOME_SCALARS, max_size=2),
    query=st.lists(
        st.tuples(SOME_SCALARS | st.sampled_from(QUERIES), st.sampled_from(DEFAULTS)), max_size=2
    ),
    body=st.none() | st.sampled_from([*BODIES, *[Item] * 5]),
    answer=st.sampled_from([*ANSWERS]),
    more=st.sampled_from([""] * 40 + [*MORE]),
    options=st.sampled_from([""] * 20 + ["created"] * 5 + [*OPTIONS]),
    place=st.sampled_from(["", "", "router", "mount"]),
    is_threaded=st.sampled_from([False] * 9 + [True]),
)

TEXTS = ["a", "ab", "7", "13", "-2", "2.5", "true", "red", "2026-01-02", "", "%00", "null", "ä"]
TEXTS += ["01234567-89ab-cdef-0123-456789abcdef", "2026-01-02T03:04:05Z", "8", "1e400", "nan"]
GOOD = [{"sku": "a"}, {"sku": "a", "many": 2, "prices": [1, 2.5], "parent": {"sku": "b"}}, {"x": 1}]
GOOD += [[1, 2], [{"sku": "a"}], {"a": 1}, 1, "a", None, [1, "a"], "2026-01-02T03:04:05Z", 13]
WRONG = [{"sku": ""}, {"sku": "a", "more": 1}, {"x": "x"}, ["a"], {"a": "b"}, {}, [], 1.5, True]
UNREADABLE = [
    b"",
    b"{",
    b"nope",
    b"\xff",
    b'{"sku": "a",}',
    b'"\\ud800"',
    b"[" * 500,
    b"\xef\xbb\xbf1",
]
UNREADABLE += ['{"sku": "a"}'.encode("utf-16"), b'{"sku": "a", "sku": "b"}', b" 7 ", b"NaN"]
bodies = (
    st.sampled_from([json.dumps(each).encode() for each in (*GOOD, *WRONG)])
    | st.sampled_from(UNREADABLE)
    | st.just(json.dumps(list(range(LARGE_BYTES // 4))).encode())
)
TYPES = [b"application/json"] * 5 + [b"application/json; charset=utf-8", b"application/x+json"]
TYPES += [b"text/plain", b"", b"application/JSON", b"application/x-www-form-urlencoded"]


@st.composite
def requests(draw: st.DrawFn, number: int, operation: Operation) -> Asked:
    """Draw a request that comes near to what an operation takes."""
    texts = st.sampled_from(TEXTS)
    values = "".join(f"/{draw(texts)}" for _ in operation.path)
    before = {"": "", "mount": "/mount"}.get(operation.place, "/tenant/inner")
    query = draw(st.lists(st.tuples(st.sampled_from(["q0", "q1", "m", "x"]), texts), max_size=3))
    body = draw(st.just(b'{"sku": "a", "many": 2}') | bodies)
    cut = draw(st.integers(0, len(body)))
    kinds = draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2))
    credentials = draw(st.sampled_from([(), ((b"authorization", b"somebody a"),)]))
    return Asked(
        draw(st.sampled_from([operation.method] * 8 + ["HEAD", "OPTIONS", "PUT"])),
        draw(st.sampled_from(["", "", "/root"])) + f"{before}/o{number}{values}",
        "&".join(map("=".join, query)).encode(),
        (*((b"content-type", each) for each in kinds), *credentials),
        draw(st.sampled_from([(body,), (body[:cut], body[cut:]), (b"", body, b"")])),
        draw(st.sampled_from([False] * 9 + [True])),
    )


async def refused(request: Request, error: Exception) -> Response:
    """Answer with all that there is of the request."""
    body, parameters = await request.body(), request.path_params
    return JSONResponse([str(error), body.hex(), str(parameters), request.url.path], 409)


def with_middleware(api: Api) -> None:
    @api.middleware("http")
    async def show(request: Request, call_next: Any) -> Response:
        if "x" in request.query_params:
            await request.body()
        response: Response = await call_next(request)
        scope = request.scope
        shown = [scope.get("path_params"), getattr(scope.get("endpoint"), "__name__", None)]
        response.headers["x-shown"] = repr([*shown, getattr(scope.get("route"), "path", None)])
        return response


class Both(NamedTuple):
    """An application with the fast path and one without."""

    fast: Application
    slow: Application

    @classmethod
    def of(cls, build: Callable[[Api], object], *arguments: Any, **settings: Any) -> "Both":
        made = (
            Application(build, *arguments, **settings, fast_path=fast) for fast in (True, False)
        )
        return cls(*made)

    async def answer(self, asked: Asked) -> Answered:
        """Return the answer, which is that of both."""
        answers = await self.fast.answer(asked), await self.slow.answer(asked)
        assert answers[0] == answers[1]
        return answers[0]


def building(operations: Sequence[Operation], has_middleware: bool) -> Callable[[Api], None]:
    def build(api: Api) -> None:
        api.add_exception_handler(RefusedError, refused)
        api.add_exception_handler(ResponseValidationError, refused)
        if has_middleware:
            with_middleware(api)
        for number, operation in enumerate(operations):
            operation.add(api, number)

    return build


@pytest.fixture(scope="module", autouse=True)
def no_log_of_bugs() -> Iterator[None]:
    """They are meant, and many."""
    logger.disable("twinport")
    yield
    logger.enable("twinport")


@given(st.data())
def test_answers_are_the_same_with_and_without_the_fast_path(data):
    made = data.draw(st.lists(operations, min_size=1, max_size=3))
    asked = [
        data.draw(requests(number, operation))
        for number, operation in enumerate(made)
        for _ in range(3)
    ]
    permissions = {"operation0": PUBLIC, "operation1": needs("a"), "operation2": needs("b")}
    mounts = {f"mount{at}": PUBLIC for at, each in enumerate(made) if each.place == "mount"}
    options = data.draw(st.sampled_from([(), (permissions | mounts,)]))
    gzip = data.draw(st.sampled_from([{}, {}, {"gzip": {"min_size": "1B"}}]))
    build = building(made, data.draw(st.booleans()))
    both = Both.of(build, *options, root_path=data.draw(st.sampled_from(["", "/root"])), **gzip)

    async def check() -> None:
        for each in asked:
            await both.answer(each)

    asyncio.run(check())


# What is plain, and what is not


async def plain(name: str, size: int = 1, *, item: Item) -> Item:
    """Be read and written by pydantic alone."""
    return Item(sku=name, many=size + item.quantity)


def obstacles(api: Api) -> list[str]:
    return [way.obstacle for way in api.ways()]


def ways_of(add: Callable[[Api], object], **settings: Any) -> list[str]:
    return obstacles(Application(add, **settings).api)


PLAIN: list[Callable[[Api], object]] = [
    lambda api: api.post("/{name}")(plain),
    lambda api: api.post("/{name:path}", status_code=201)(plain),
    lambda api: api.include_router(router_with(plain), prefix="/prefix", tags=["tag"]),
    lambda api: api.get("/")(coroutine(Annotated[int | None, Query(alias="n", ge=1)])),
    lambda api: api.get("/")(coroutine(Literal["a"])),
]


def router_with(function: Any, **options: Any) -> APIRouter:
    router = APIRouter(**options)
    router.post("/{name}")(function)
    return router


def coroutine(kind: Any, default: Any = EMPTY, answer: Any = str) -> Any:
    """Return a function with one parameter of this kind."""
    operation = Operation("GET", (), ((kind, default),), None, "text", "", "", "", False)
    function = operation.function(0)
    function.__signature__ = function.__signature__.replace(return_annotation=answer)
    return function


@pytest.mark.parametrize("add", PLAIN)
def test_a_plain_route_takes_the_fast_path(add):
    assert ways_of(add) == [""]


class OwnRoute(APIRoute):
    """A route whose handler does more."""


def wrapped(api: Api) -> None:
    with pytest.MonkeyPatch.context() as patch:
        made = traced(fastapi.routing.get_request_handler)
        patch.setattr(fastapi.routing, "get_request_handler", made)
        api.get("/")(coroutine(str))


def traced(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes handlers that do something around each call, as Sentry's do."""

    def make_traced(*args: Any, **kwargs: Any) -> Any:
        handler = make(*args, **kwargs)

        async def traced_handler(request: Request) -> Response:
            response: Response = await handler(request)
            response.headers["x-traced"] = "1"
            return response

        return traced_handler

    return make_traced


def limited(api: Api) -> None:
    api.include_router(router_with(plain, max_body_size=5))


def limited_itself(api: Api) -> None:
    router = APIRouter()
    router.add_api_route("/", coroutine(str), max_body_size=5)
    api.include_router(router)


def own_class(api: Api) -> None:
    api.include_router(router_with(plain, route_class=OwnRoute))


def generator(api: Api) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    api.get("/")(numbers)


def converted(api: Api) -> None:
    api.get("/{q0:reversed}")(coroutine(str))


class Reversed(Convertor[str]):
    """A converter of the service's own."""

    regex = "[a-z]+"

    def convert(self, value: str) -> str:
        return value[::-1]

    def to_string(self, value: str) -> str:
        return value[::-1]


register_url_convertor("reversed", Reversed())

NOT_PLAIN: dict[str, tuple[Callable[[Api], object], str]] = {
    "in a thread": (lambda api: api.get("/")(told), "no coroutine function"),
    "generator": (generator, "no coroutine function"),
    "dependency": (lambda api: api.get("/", dependencies=[Depends(told)])(plain), "dependencies"),
    "of the router": (
        lambda api: api.include_router(router_with(plain), dependencies=[Depends(told)]),
        "dependencies",
    ),
    "header": (lambda api: api.get("/")(coroutine(Annotated[str, Header()])), "headers"),
    "cookie": (lambda api: api.get("/")(coroutine(Annotated[str, Cookie()])), "cookies"),
    "request": (lambda api: api.get("/")(coroutine(Request)), "the request, the response or"),
    "tasks": (lambda api: api.get("/")(coroutine(BackgroundTasks)), "the request, the response or"),
    "list": (lambda api: api.get("/")(coroutine(Annotated[list[int], Query()])), "parameters"),
    "model": (lambda api: api.get("/")(coroutine(Annotated[Item, Query()])), "parameters"),
    "converter": (converted, "parameters"),
    "two bodies": (
        lambda api: api.post("/")(coroutine(Annotated[Item, Body(embed=True)])),
        "a form",
    ),
    "no type": (lambda api: api.get("/")(coroutine(str, answer=EMPTY)), "no type"),
    "response": (lambda api: api.get("/")(coroutine(str, answer=PlainTextResponse)), "no type"),
    "class": (lambda api: api.get("/", response_class=JSONResponse)(coroutine(str)), "a response"),
    "excluded": (
        lambda api: api.get("/", response_model_exclude_none=True)(coroutine(str)),
        "options of what it returns",
    ),
    "limited": (limited, "limits of a router"),
    "limited itself": (limited_itself, "something around it"),
    "wrapped": (wrapped, "something around it"),
    "own class": (own_class, "no route of FastAPI's own class"),
    "Starlette's": (
        lambda api: api.routes.append(Route("/", told)),
        "no route of FastAPI's own class",
    ),
}


@pytest.mark.parametrize(("add", "why"), NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_the_fast_path_cannot_do_takes_the_way_of_fastapi(add, why):
    (found,) = ways_of(add)
    assert found.startswith(why)


def test_the_setting_turns_the_fast_path_off():
    assert ways_of(PLAIN[0], fast_path=False) == ["http.fast_path is false"]


async def test_what_an_integration_puts_around_each_handler_stays_there():
    answer = await Application(wrapped).answer(Asked("GET", "/", b"q0=a"))
    assert (b"x-traced", b"1") in answer.messages[0]["headers"]


async def test_plain_requests_do_not_come_by_fastapi(monkeypatch):
    application = Application(PLAIN[0])
    monkeypatch.setattr(fastapi.routing, "solve_dependencies", None)
    json_type = ((b"content-type", b"application/json"),)
    asked = Asked("POST", "/tea", b"size=2", json_type, (b'{"sku"', b': "a"}'))
    answer = await application.answer(asked)
    assert (answer.status, answer.route) == (200, "/{name}")
    assert json.loads(answer.body) == {"sku": "tea", "many": 3, "prices": [], "parent": None}


@given(st.text() | st.floats().map(json.dumps) | st.integers().map(str))
@example("-0")
@example("1" * 5000)
@example('"\\ud800"')
@example('{"a": 1, "a": 2}')
def test_what_pydantic_reads_as_json_is_what_python_reads(text: str):
    try:
        read = from_json(text.encode())
    except ValueError:
        return  # FastAPI's way tells
    assert repr(read) == repr(json.loads(text.encode()))


async def test_a_large_body_that_is_wrong_is_not_read_twice():
    both = Both.of(PLAIN[0])
    document = json.dumps({"sku": "a", "prices": ["x"] * LARGE_BYTES}).encode()
    json_type = ((b"content-type", b"application/json"),)
    answer = await both.answer(Asked("POST", "/tea", b"", json_type, (document,)))
    assert answer.status == 400
    assert answer.body.count(b'"field"') == 1


async def test_a_body_that_is_too_large_is_refused_with_and_without_the_fast_path():
    both = Both.of(PLAIN[0], limits={"body_size": "4B"})
    json_type = ((b"content-type", b"application/json"),)
    answer = await both.answer(Asked("POST", "/tea", b"", json_type, (b"{}", b"     ", b"  ")))
    assert answer.status == 413


async def test_the_log_says_which_route_returned_what_it_does_not_declare(monkeypatch):
    failures: list[BaseException] = []
    monkeypatch.setattr("twinport.rest.edge.note_failure", lambda _, error: failures.append(error))
    wrong = coroutine(str, "", Item)
    both = Both.of(lambda api: api.get("/things")(wrong))
    assert (await both.answer(Asked("GET", "/things"))).status == 500
    (told,) = {str(each) for each in failures}
    assert "GET /things" in told


def test_config_show_says_which_way_each_route_goes(tmp_path):
    command = [sys.executable, "-m", "sample", "config", "show", "--routes"]
    done = subprocess.run(command, cwd=SAMPLE, capture_output=True, text=True, check=True)
    ways = dict(line.rsplit("  ", 1) for line in done.stdout.splitlines())
    ways = {route.strip(): way for route, way in ways.items()}
    assert ways["GET /v1/orders/{order_id}"] == "fast path"
    assert ways["GET /v1/orders:watch"] == "FastAPI: headers"
