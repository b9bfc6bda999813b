"""What a refusal costs: a short answer, and no more time than it takes to read the request."""

import json
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import grpc
import httpx2
import pytest
from fastapi import Body, Header, Query, Request
from google.rpc.error_details_pb2 import BadRequest
from grpc_status import rpc_status
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from starlette.exceptions import HTTPException

from sample.app import build
from sample.settings import Settings
from twinport import Service
from twinport.calls import Call, current
from twinport.errors import MOST_VIOLATIONS, FieldViolation, InvalidArgumentError, NotFoundError
from twinport.validation import LARGE_BYTES, MOST_OF_A_NAME, checked, validator

ANSWER_BYTES = 8 * 1024  # what a client of gRPC takes as metadata; of HTTP it is the whole body
MANY = 20_000
LONG = "x" * 100_000
LARGE_HEAD = "x" * 30_000
NAMES = {f"k{number}": 1 for number in range(MANY)}


def boastful(text: str) -> str:
    raise ValueError(f"not {text}")


class Strict:
    __slots__ = ()
    __pydantic_config__: ClassVar = ConfigDict(extra="forbid", revalidate_instances="always")


@dataclass(slots=True)
class Item(Strict):
    name: str
    size: int


@dataclass(slots=True)
class Cat(Strict):
    kind: Literal["cat"]


@dataclass(slots=True)
class Dog(Strict):
    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Choice = Literal[tuple(f"choice-{number}" for number in range(300))]  # type: ignore[valid-type]


class Way(NamedTuple):
    """A way to be wrong: the type of what is said, and what is said instead."""

    kind: Any
    wrong: Any


WAYS = {
    "unknown keys": Way(Item, NAMES),
    "a long key": Way(Item, {LONG: 1, LONG + "2": 1}),
    "wrong items": Way(list[int], ["a"] * MANY),
    "wrong items of several types": Way(list[int | float | bool | Item], ["a"] * MANY),
    "items without their fields": Way(list[Item], [{}] * MANY),
    "sets in lists": Way(list[set[int]], [["a"] * 100] * 200),
    "wrong values of a mapping": Way(dict[str, int | Item], dict.fromkeys(NAMES, "a")),
    "wrong values of an ordered mapping": Way(OrderedDict[str, int], dict.fromkeys(NAMES, "a")),
    "wrong items of a queue": Way(deque[int], ["a"] * MANY),
    "wrong keys of a mapping": Way(dict[int, int], NAMES),
    "long keys of a mapping": Way(dict[str, int], {LONG: "a", LONG + "2": "b"}),
    "unknown keys below a long one": Way(dict[str, Item], {LONG: NAMES, LONG + "2": NAMES}),
    "unknown tags": Way(list[Pet], [{"kind": "cow"}] * MANY),
    "a long tag": Way(list[Pet], [{"kind": LONG}]),
    "no choices": Way(list[Choice], ["a"] * MANY),
    "a long choice": Way(Choice, LONG),
    "a long text": Way(Annotated[str, Field(pattern="^a*$")], LONG),
    "a text that is told again": Way(list[Annotated[str, AfterValidator(boastful)]], [LONG] * 2),
    "deep nesting": Way(list[Any], {"a": json.loads("[" * 900 + "]" * 900)}),
}


class Told(NamedTuple):
    """What a caller reads, and how much that is."""

    code: str
    fields: list[tuple[str, str]]
    size: int


Ask = Callable[[str, bytes], Awaitable[Told]]


async def build_rest(service: Service, settings: Settings) -> None:
    await build(service, settings)
    for name, way in WAYS.items():
        _add_way(service, name, way.kind)

    async def read(request: Request) -> None:
        await request.json()

    service.rest.post("/read")(read)
    _add_refusals(service)


def _add_way(service: Service, name: str, kind: Any) -> None:
    async def take(content: Annotated[kind, Body(embed=True)]) -> None: ...

    service.rest.post(f"/{name}")(take)


class Asked(BaseModel, extra="forbid"):
    number: int = 0


def _add_refusals(service: Service) -> None:
    async def query(asked: Annotated[Asked, Query()]) -> None: ...
    async def header(name: Annotated[list[int], Header()]) -> None: ...
    async def path(number: int, choice: Choice) -> None: ...

    async def missing() -> None:
        raise NotFoundError(LONG, fields=[FieldViolation(LONG, LONG)] * 100)

    async def refused() -> None:
        raise HTTPException(404, LONG)

    service.rest.get("/query")(query)
    service.rest.get("/header")(header)
    service.rest.get("/path/{number}/{choice}")(path)
    service.rest.get("/missing")(missing)
    service.rest.get("/refused")(refused)


async def build_rpc(service: Service, settings: Settings) -> None:
    service.rpc.add(_add_ways, None)


def _add_ways(_: object, server: Any) -> None:
    handlers = {name.replace(" ", "_"): _checking(_message(way.kind)) for name, way in WAYS.items()}
    server.add_registered_method_handlers("Ways", handlers | {"read": _checking(None)})


def _message(kind: Any) -> type:
    @dataclass(slots=True)
    class Message(Strict):
        content: kind

    return Message


def _checking(kind: Any) -> Any:
    async def answer(content: Any, context: object) -> bytes:
        if kind is not None:
            checked(kind(**content))
        return b""

    return grpc.unary_unary_rpc_method_handler(answer, json.loads, bytes)


@pytest.fixture
async def http(serving: Any, settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with serving(settings, build_rest) as ports:
        base = f"http://127.0.0.1:{ports.http}"
        async with httpx2.AsyncClient(base_url=base, timeout=60) as http:
            yield http


@pytest.fixture
def by_rest(http: httpx2.AsyncClient) -> Ask:
    async def ask(name: str, body: bytes) -> Told:
        headers = {"content-type": "application/json"}
        return told(await http.post(f"/{name}", content=body, headers=headers))

    return ask


@pytest.fixture
async def by_rpc(serving: Any, settings: Settings) -> AsyncIterator[Ask]:
    async with (
        serving(settings, build_rpc) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):

        async def ask(name: str, body: bytes) -> Told:
            call = channel.unary_unary(f"/Ways/{name.replace(' ', '_')}")
            try:
                await call(body)
            except grpc.aio.AioRpcError as error:
                return told_by_rpc(error)
            return Told("OK", [], 0)

        yield ask


@pytest.fixture(params=["by_rest", "by_rpc"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.getfixturevalue(request.param)
    return chosen


def told(answer: httpx2.Response) -> Told:
    if answer.is_success:
        return Told("OK", [], 0)
    problem = answer.json()
    fields = [(wrong["field"], wrong["description"]) for wrong in problem["errors"]]
    return Told(problem["code"], fields, len(answer.content))


def told_by_rpc(error: grpc.aio.AioRpcError) -> Told:
    wrong = BadRequest()
    status: Any = rpc_status.from_call(error)  # type: ignore[arg-type]
    for detail in status.details if status else ():
        detail.Unpack(wrong)
    fields = [(each.field, each.description) for each in wrong.field_violations]
    sent = sum(len(name) + len(value) for name, value in error.trailing_metadata() or ())
    return Told(error.code().name, fields, sent + len((error.details() or "").encode()))


async def cost(ask: Ask, name: str, body: bytes) -> tuple[float, Told]:
    """Return the least CPU time of a few calls, their client's included, and what they are told."""
    costs = []
    for _ in range(3):
        begun = time.process_time()
        seen = await ask(name, body)
        costs.append(time.process_time() - begun)
    return min(costs), seen


@pytest.mark.parametrize("name", WAYS)
async def test_a_refusal_takes_few_words_and_little_more_time_than_to_read_what_is_refused(
    ask: Ask, name: str
):
    body = json.dumps({"content": WAYS[name].wrong}).encode()
    refused_s, seen = await cost(ask, name, body)
    read_s, _ = await cost(ask, "read", body)
    assert seen.code == "INVALID_ARGUMENT"
    assert 1 <= len(seen.fields) <= MOST_VIOLATIONS
    assert all(field.startswith("content") and rule for field, rule in seen.fields)
    assert seen.size <= ANSWER_BYTES
    assert refused_s <= 4 * read_s + 0.005


HEADS: list[tuple[str, str, dict[str, Any]]] = [  # of requests that are large without a JSON body
    ("GET", "/query", {"params": {LARGE_HEAD: "1"}}),
    ("GET", "/query", {"params": {"number": LARGE_HEAD}}),
    ("GET", "/query", {"params": {f"k{n}": "1" for n in range(3_000)}}),
    ("GET", "/header", {"headers": [("name", "x")] * 1_000}),
    ("GET", "/header", {"headers": {"name": LARGE_HEAD}}),
    ("GET", f"/path/{LARGE_HEAD}/{LARGE_HEAD[:100]}", {}),
    ("GET", f"/{LARGE_HEAD}", {}),
    ("PATCH", f"/path/{LARGE_HEAD}/x", {}),
    ("POST", "/read", {"content": b"[" * 100_000}),
    ("POST", "/v1/orders", {"content": b"{" + LONG.encode()}),
    ("POST", "/v1/orders:import", {"content": json.dumps(dict(list(NAMES.items())[:4_000]))}),
    ("POST", "/v1/orders:quote", {"content": json.dumps({LONG[:60_000]: 1})}),
    ("GET", "/missing", {}),
    ("GET", "/refused", {}),
]


@pytest.mark.parametrize(("method", "path", "sent"), HEADS, ids=range(len(HEADS)))
async def test_a_refusal_repeats_little_of_what_it_refuses(
    http: httpx2.AsyncClient, method: str, path: str, sent: dict[str, Any]
):
    seen = told(await http.request(method, path, **sent))
    assert seen.code != "OK"
    assert len(seen.fields) <= MOST_VIOLATIONS
    assert seen.size <= ANSWER_BYTES


async def test_an_operator_who_is_wrong_is_told_so_in_few_words(serving: Any, settings: Settings):
    async with serving(settings) as ports, httpx2.AsyncClient(timeout=60) as http:
        url = f"http://127.0.0.1:{ports.management}/loggers/root"
        seen = told(await http.put(url, json=NAMES))
    assert (seen.code, len(seen.fields)) == ("INVALID_ARGUMENT", MOST_VIOLATIONS)
    assert seen.size <= ANSWER_BYTES


@pytest.mark.parametrize("text", ["x", "ü", "茶", "\N{TEACUP WITHOUT HANDLE}", "\x1f", '"'])
def test_an_error_is_short_whatever_its_texts_are_made_of(text: str):
    fields = [FieldViolation(text * 100_000, text * 100_000)] * 100
    error = NotFoundError(text * 100_000, fields=fields)
    parts = [str(error), *(part for field in error.fields for part in field)]
    assert all(parts)
    assert sum(len(json.dumps(part, ensure_ascii=False).encode()) for part in parts) < 5_000


def test_an_error_of_usual_length_says_all_that_it_was_given():
    fields = [FieldViolation(f"items.{n}.name", "String should be short") for n in range(50)]
    error = InvalidArgumentError("the request is not valid " * 30, fields=fields)
    assert (str(error), error.fields) == ("the request is not valid " * 30, tuple(fields))


class Tree(BaseModel, extra="forbid"):
    """Each kind of sequence and mapping, in itself."""

    names: dict[str, int] | dict[str, float] = {}
    trees: "dict[str, Tree]" = {}
    called: Annotated[int, Field(alias="alias")] = 0
    inner: Annotated[int, Field(validation_alias=AliasPath("path", "a"))] = 0
    either: Annotated[int, Field(validation_alias=AliasChoices("one", "two"))] = 0
    several: list[int | float | list[str]] = []
    pair: tuple[int, str] = (0, "")
    unique: set[int] = set()
    few: Annotated[dict[str, int], Field(max_length=2)] = {}
    default: dict[str, Any] = {"type": "list"}


TREE = TypeAdapter(Tree)


def _place(path: tuple[str | int, ...]) -> list[str]:
    return [str(step)[:MOST_OF_A_NAME] for step in path]


def in_a_request_of(size: int, content: Any) -> Any:
    """Return what becomes of `content`, or where it is wrong."""
    call = Call("http", "a" * 32, "b" * 16)
    call.received_bytes = size
    token = current.set(call)
    try:
        return validator(TREE).validate_python(content)
    except ValidationError as error:
        return error.error_count(), [_place(each["loc"]) for each in error.errors()]
    finally:
        current.reset(token)


values = st.integers(0, 3) | st.floats(0, 3) | st.sampled_from(["", "a", "1"])
mappings = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)
trees = st.deferred(
    lambda: st.fixed_dictionaries(
        {},
        optional={
            "names": mappings,
            "trees": st.dictionaries(st.sampled_from(["a", "b", "c" * 300]), trees, max_size=2),
            "several": st.lists(values | st.lists(values, max_size=2), max_size=3),
            "pair": st.tuples(values, values),
            "unique": st.lists(values, max_size=3),
            "few": mappings,
            "alias": values,
            "called": values,
            "path": mappings,
            "one": values,
            "two": values,
            "unknown": values,
        },
    )
)


@hypothesis_settings(max_examples=60)
@given(trees, st.sampled_from([{}, {f"u{number}": 1 for number in range(100)}]))
def test_a_large_request_is_accepted_if_a_small_one_is(content: Any, unknown: Any):
    content = unknown | content
    small = in_a_request_of(LARGE_BYTES, content)
    large = in_a_request_of(LARGE_BYTES + 1, content)
    if isinstance(small, Tree):
        assert repr(large) == repr(small)
    else:
        assert 1 <= large[0] <= small[0]
        assert all(place in small[1] for place in large[1])


def test_of_a_small_request_each_mistake_is_named():
    wrong = {"several": ["a", "b"], "unique": ["c", "d"], "names": {"e": "f"}}
    assert in_a_request_of(LARGE_BYTES, wrong)[0] == 10
