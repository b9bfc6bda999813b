"""What every answer over REST has, also a refusal: ids, HEAD and OPTIONS as people expect them."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import StreamingResponse

from sample.app import build
from sample.settings import Settings
from twinport import Service
from twinport.calls import CallSettings
from twinport.errors import FailedPreconditionError, StartupError
from twinport.rest.exchange import WATCH_AFTER_S
from twinport.rest.settings import HttpLimits

TRACE_ID = re.compile("[0-9a-f]{32}")
TEA = {"sku": "tea", "quantity": 1}

LINE = '{"sku": "tea", "quantity": 1}'
STREAMS = [("GET", "/v1/orders:watch"), ("POST", "/v1/orders:quote"), ("GET", "/more/endless")]


class Routes:
    """Routes beside those of the service, and whether their streams have ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.answered = asyncio.Event()
        self.held = asyncio.Semaphore(0)

    async def build(self, service: Service, settings: Settings) -> None:
        await build(service, settings)
        router = APIRouter(prefix="/more")

        @router.get("/held")
        async def held() -> None:
            self.held.release()
            await asyncio.Event().wait()

        @router.get("/refused")
        async def refused() -> None:
            raise FailedPreconditionError("not now")

        @router.get("/bug")
        async def bug() -> None:
            raise KeyError("bug")

        @router.get("/endless")
        async def endless() -> StreamingResponse:
            return StreamingResponse(self.waiting())

        @router.get("/later")
        async def later(tasks: BackgroundTasks) -> None:
            tasks.add_task(self.work_until_answered)

        router.get("/form")(self.form)
        service.rest.include_router(router)

    async def form(self, request: Request) -> None:
        async def close() -> None:
            self.ended.set()

        request.scope["fastapi_middleware_astack"].push_async_callback(close)

    async def work_until_answered(self) -> None:
        await self.answered.wait()
        await asyncio.sleep(2 * WATCH_AFTER_S)  # as long as it may take to see that nobody listens
        self.ended.set()

    async def waiting(self) -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield ""
        finally:
            self.ended.set()


@pytest.fixture
def routes() -> Routes:
    return Routes()


@pytest.fixture(params=["hypercorn", "uvicorn", "granian"])
def opened(
    request: pytest.FixtureRequest,
    routes: Routes,
    settings: Settings,
    serving: Callable[..., Any],
) -> Any:
    limits = HttpLimits.model_validate({"body_size": "100B"})
    small = settings.http.model_copy(update={"limits": limits, "server": request.param})
    few = CallSettings(max_concurrent=2, max_streams=1)
    chosen = settings.model_copy(update={"http": small, "calls": few})

    @asynccontextmanager
    async def opened() -> AsyncIterator[httpx2.AsyncClient]:
        async with serving(chosen, routes.build) as ports:
            url = f"http://127.0.0.1:{ports.http}"
            async with httpx2.AsyncClient(base_url=url, timeout=20) as http:
                yield http

    return opened


@pytest.fixture
async def http(opened: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with opened() as http:
        yield http


ANSWERS: list[tuple[int, str, str, dict[str, Any]]] = [
    (200, "GET", "/v1/orders", {}),
    (201, "POST", "/v1/orders", {"json": TEA}),
    (204, "OPTIONS", "/v1/orders", {}),
    (400, "POST", "/v1/orders", {"json": {}}),
    (400, "GET", "/more/refused", {}),
    (400, "GET", "/v1/orders", {"headers": {"grpc-timeout": "soon"}}),
    (404, "GET", "/nothing", {}),
    (404, "GET", "/v1/orders/unknown", {}),
    (404, "GET", "/v1/orders/", {}),
    (405, "PATCH", "/v1/orders", {}),
    (413, "POST", "/v1/orders", {"content": b" " * 101}),
    (500, "GET", "/more/bug", {}),
    (504, "GET", "/more/held", {"headers": {"grpc-timeout": "20m"}}),
]


@pytest.mark.parametrize(("status", "method", "path", "sent"), ANSWERS)
async def test_every_answer_names_its_trace_and_its_request(
    http, calls, status, method, path, sent
):
    headers = sent.get("headers", {}) | {"x-request-id": "order-4711"}
    answer = await http.request(method, path, **sent | {"headers": headers})
    assert answer.status_code == status
    assert TRACE_ID.fullmatch(answer.headers["x-trace-id"])
    assert answer.headers["x-request-id"] == "order-4711"
    assert [(call.trace_id, call.request_id, call.status) for call in calls] == [
        (answer.headers["x-trace-id"], "order-4711", status)
    ]
    if status >= 400:
        assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_one_call_too_many_is_refused_and_names_its_trace(http, routes: Routes):
    held = [asyncio.create_task(http.get("/more/held")) for _ in range(2)]
    for _ in held:
        await routes.held.acquire()
    answer = await http.get("/v1/orders")
    for task in held:
        task.cancel()
    assert (answer.status_code, answer.json()["code"]) == (503, "RESOURCE_EXHAUSTED")
    assert answer.headers["retry-after"] == "1"
    assert TRACE_ID.fullmatch(answer.headers["x-trace-id"])


@pytest.mark.parametrize(("method", "path"), STREAMS)
async def test_one_stream_too_many_is_refused(http, calls, method, path):
    async with http.stream("GET", "/v1/orders:watch") as first:
        assert first.status_code == 200
        answer = await http.request(method, path, content=LINE if method == "POST" else None)
        unary = await http.get("/v1/orders")
    assert (calls[0].code, calls[0].error) == ("RESOURCE_EXHAUSTED", None)
    assert (answer.status_code, answer.json()["code"]) == (503, "RESOURCE_EXHAUSTED")
    assert unary.status_code == 200


@pytest.mark.parametrize("asked", ["", "x" * 129, "tab\there", "ü"])
async def test_a_request_id_that_is_not_sane_is_replaced(http, asked):
    answer = await http.get("/v1/orders", headers={"x-request-id": asked.encode()})
    assert answer.headers["x-request-id"] == answer.headers["x-trace-id"]


async def test_a_trace_of_the_caller_goes_on(http):
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traceparent = f"00-{trace_id}-00f067aa0ba902b7-01"
    answer = await http.get("/nothing", headers={"traceparent": traceparent})
    assert answer.headers["x-trace-id"] == trace_id


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/orders", 200), ("/v1/orders/unknown", 404), ("/openapi.json", 200)]
)
async def test_a_head_is_what_a_get_would_be_without_its_body(http, calls, path, status):
    head, get = await http.head(path), await http.get(path)
    assert (head.status_code, get.status_code, head.content) == (status, status, b"")
    for name in ("content-length", "content-type"):
        assert head.headers[name] == get.headers[name]
    assert [(call.method, call.route, call.code) for call in calls] == [
        ("HEAD", calls[1].route, calls[1].code),
        ("GET", calls[1].route, calls[1].code),
    ]


async def test_the_head_of_a_stream_does_not_wait_for_its_end(opened, routes, calls):
    async with opened() as http:
        head = await http.head("/more/endless")
        async with asyncio.timeout(20):
            await routes.ended.wait()
        watch = await http.head("/v1/orders:watch")
    assert (head.status_code, watch.status_code, watch.content) == (200, 200, b"")
    assert watch.headers["content-type"].startswith("text/event-stream")
    assert [(call.status, call.code, call.error) for call in calls] == [(200, "OK", None)] * 2


async def test_work_in_the_background_goes_on_after_the_answer(opened, routes, calls):
    async with opened() as http:
        answer = await http.get("/more/later")
        routes.answered.set()
    async with asyncio.timeout(20):
        await routes.ended.wait()
    assert (answer.status_code, [call.code for call in calls]) == (200, ["OK"])


@pytest.mark.parametrize(
    ("path", "wait", "status", "code"),
    [("/more/held", "100m", 504, "DEADLINE_EXCEEDED"), ("/more/bug", "20S", 500, "INTERNAL")],
)
async def test_a_head_fails_as_a_get_would(http, calls, path, wait, status, code):
    head = await http.head(path, headers={"grpc-timeout": wait})
    assert (head.status_code, head.content) == (status, b"")
    assert [(call.status, call.code) for call in calls] == [(status, code)]


ALLOWED = [
    ("/v1/orders", "GET, HEAD, OPTIONS, POST"),
    ("/v1/orders/unknown", "DELETE, GET, HEAD, OPTIONS"),
    ("/v1/orders:import", "OPTIONS, POST"),
    ("/openapi.json", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("path", "allowed"), ALLOWED)
async def test_a_path_says_what_it_takes(http, path, allowed):
    asked, wrong = await http.options(path), await http.patch(path)
    assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allowed, b"")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, allowed)
    assert wrong.json()["code"] == "UNIMPLEMENTED"


async def test_what_is_nowhere_takes_nothing(http):
    for method in ("OPTIONS", "HEAD", "GET"):
        answer = await http.request(method, "/nothing")
        assert (answer.status_code, "allow" in answer.headers) == (404, False)


async def test_a_caller_reads_that_the_stop_has_cut_the_call(opened, routes: Routes, calls):
    async with httpx2.AsyncClient(timeout=10) as caller:
        async with opened() as http:
            waiting = asyncio.create_task(caller.get(f"{http.base_url}/more/held"))
            await routes.held.acquire()
        answer = await waiting
    assert (answer.status_code, answer.json()["trace_id"]) == (503, answer.headers["x-trace-id"])
    assert [(call.status, call.code, call.error) for call in calls] == [(503, "UNAVAILABLE", None)]


async def test_the_files_of_a_form_are_closed_as_fastapi_closes_them(http, routes: Routes):
    assert (await http.get("/more/form")).is_success
    assert routes.ended.is_set()


@pytest.mark.parametrize("error", [Exception, 500, HTTPStatus.INTERNAL_SERVER_ERROR])
async def test_a_handler_for_any_error_at_all_ends_the_start(serving, settings, error):
    async def handles(service: Service, settings: Settings) -> None:
        service.rest.exception_handler(error)(lambda request, error: Response())

    with pytest.raises(StartupError, match=r"^rest: no handler can be for Exception or 500: "):
        async with serving(settings, handles):
            """It does not come to that."""


async def test_an_error_of_ones_own_has_a_handler_of_ones_own(serving, settings):
    async def answered(request: Request, error: Exception) -> Response:
        return Response(f"{error}", 418)

    async def fails() -> None:
        raise KeyError("tea")

    async def handles(service: Service, settings: Settings) -> None:
        service.rest.exception_handler(KeyError)(answered)
        service.rest.get("/tea")(fails)

    async with serving(settings, handles) as ports, httpx2.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{ports.http}/tea")
    assert (answer.status_code, answer.text) == (418, "'tea'")
