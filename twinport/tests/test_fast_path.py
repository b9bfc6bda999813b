"""The fast path answers as FastAPI does, byte for byte, and leaves to FastAPI what it cannot do."""

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

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
from hypothesis import given, strategies as st
from pydantic import AfterValidator, BaseModel, Field
from starlette.exceptions import HTTPException

from twinport.auth import PUBLIC, needs
from twinport.errors import NotFoundError
from twinport.rest.api import Api
from twinport.validation import LARGE_BYTES

from support.both_ways import Answered, Application, Asked


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
NONE = st.just("")


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
        add(f"/o{number}{path}", **OPTIONS.get(self.options, {}))(self._function(number))
        if self.place == "mount":
            api.mount("/mount", router, name=f"mount{number}")
        elif self.place:
            outer = APIRouter()
            outer.include_router(router, prefix="/inner")
            api.include_router(outer, prefix="/{tenant}")

    def _function(self, number: int) -> Any:
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


operations = st.builds(
    Operation,
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.lists(st.sampled_from(SCALARS), max_size=2),
    query=st.lists(st.tuples(st.sampled_from(QUERIES), st.sampled_from(DEFAULTS)), max_size=2),
    body=st.none() | st.sampled_from(BODIES),
    answer=st.sampled_from([*ANSWERS]),
    more=NONE | NONE | st.sampled_from([*MORE]),
    options=NONE | NONE | st.sampled_from([*OPTIONS]),
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
    body = draw(bodies)
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
