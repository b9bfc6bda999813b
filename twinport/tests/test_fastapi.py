"""What people do with FastAPI works on a service, or the start says what to do instead."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute
from starlette.staticfiles import StaticFiles

from twinport import Service, Settings, testing
from twinport.errors import StartupError
from twinport.testing import LocalService

Build = Callable[[Service], Any]


def serving(build: Build, **settings: Any) -> AbstractAsyncContextManager[LocalService]:
    async def built(service: Service, _: Settings) -> None:
        build(service)

    return testing.serving(testing.free(Settings, settings), built)


async def answer(build: Build, path: str = "/x", **settings: Any) -> Any:
    async with serving(build, **settings) as service:
        return (await service.rest.get(path)).json()


def real() -> str:
    return "real"


def using_real() -> APIRouter:
    router = APIRouter()

    @router.get("/x")
    async def x(value: Annotated[str, Depends(real)]) -> str:
        return value

    return router


OPTIONS = {"none": {}, "tags": {"tags": ["t"]}, "responses": {"responses": {404: {}}}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
async def test_a_dependency_can_be_overridden(options):
    def build(service: Service) -> None:
        service.rest.include_router(using_real(), **options)
        service.rest.dependency_overrides[real] = lambda: "fake"

    assert await answer(build) == "fake"


async def test_a_dependency_of_the_application_comes_before_each_route_of_a_router():
    def refused() -> None:
        raise HTTPException(403)

    def build(service: Service) -> None:
        service.rest.router.dependencies.append(Depends(refused))
        service.rest.include_router(using_real())

    assert (await answer(build))["status"] == 403


@pytest.mark.parametrize("prefix", ["", "/p"])
async def test_a_route_that_is_added_later_is_found_and_documented(prefix):
    inner, outer = APIRouter(), APIRouter()

    def build(service: Service) -> None:
        outer.include_router(inner)
        service.rest.include_router(outer, prefix=prefix)
        inner.get("/after")(real)
        build.app = service.rest

    async with serving(build) as service:
        assert (await service.rest.get(f"{prefix}/after")).json() == "real"
        assert (await service.rest.get(f"{prefix}/late")).status_code == 404
        inner.get("/late")(real)
        build.app.get("/own")(real)
        paths = (await service.rest.get("/openapi.json")).json()["paths"]
        for path in (f"{prefix}/late", "/own"):
            assert (await service.rest.get(path)).json() == "real"
            assert "default" in paths[path]["get"]["responses"]


async def test_each_route_of_two_applications_that_share_a_router_is_of_its_own():
    router = using_real()

    def build(service: Service) -> None:
        service.rest.include_router(router, prefix="/a")
        service.rest.include_router(router, prefix="/b")

    other = FastAPI()
    other.include_router(router)
    async with serving(build) as service:
        for path in ("/a/x", "/b/x"):
            assert (await service.rest.get(path)).status_code == 200
        assert (await service.rest.get("/x")).status_code == 404
        assert (await service.rest.post("/a/x")).status_code == 405
        calls = await service.ended_calls(4)
    assert [call.route for call in calls] == ["/a/x", "/b/x", None, "/a/x"]


async def test_the_limits_of_a_router_hold():
    router = APIRouter(max_body_size=3)

    @router.post("/x")
    async def x(request: Request) -> int:
        return len(await request.body())

    async with serving(lambda service: service.rest.include_router(router, prefix="/p")) as service:
        assert (await service.rest.post("/p/x", content=b"123")).json() == 3
        assert (await service.rest.post("/p/x", content=b"1234")).status_code == 413
        assert [call.route for call in await service.ended_calls(2)] == ["/p/x", "/p/x"]


# Lifespans


class Lifespans:
    """Lifespans that tell of their beginnings and ends."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def named(self, name: str, *, fails: str = "") -> Any:
        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[dict[str, str]]:
            self._tell(f"{name} up", fails)
            yield {name: name}
            self._tell(f"{name} down", fails)

        return lifespan

    def router(self, name: str, **options: Any) -> APIRouter:
        router = APIRouter(lifespan=self.named(name, **options))

        @router.get(f"/{name}")
        async def state(request: Request) -> dict[str, str]:
            self.told.append("called")
            return {key: getattr(request.state, key) for key in ("outer", "inner")}

        return router

    def _tell(self, event: str, fails: str) -> None:
        self.told.append(event)
        if event.endswith(fails) and fails:
            raise OSError(event)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
async def test_lifespans_of_routers_run_around_all_calls_and_their_state_is_the_requests(options):
    lifespans = Lifespans()

    def build(service: Service) -> None:
        outer = lifespans.router("outer")
        outer.include_router(lifespans.router("inner"))
        service.rest.include_router(outer, **options)
        lifespans.told.append("built")

    for path in ("/outer", "/inner"):
        lifespans.told.clear()
        assert await answer(build, path) == {"outer": "outer", "inner": "inner"}
        around = ["built", "outer up", "inner up", "called", "inner down", "outer down"]
        assert lifespans.told == around


async def test_the_lifespan_of_the_application_is_within_the_resources_of_build():
    lifespans = Lifespans()

    async def build(service: Service, _: Settings) -> None:
        await service.open(lifespans.named("resource")(None))
        service.rest.router.lifespan_context = lifespans.named("application")

    async with testing.serving(testing.free(Settings), build):
        """Nothing."""
    ups = ["resource up", "application up"]
    assert lifespans.told == [*ups, "application down", "resource down"]


FAILING = {
    "up": ["outer up", "inner up", "resource down"],
    "down": ["outer up", "inner up", "inner down", "resource down"],
}


@pytest.mark.parametrize("when", FAILING)
async def test_what_is_open_is_closed_where_a_lifespan_fails(when):
    lifespans = Lifespans()

    async def build(service: Service, _: Settings) -> None:
        stack = await service.open(AsyncExitStack())
        stack.callback(lifespans.told.append, "resource down")
        outer = lifespans.router("outer")
        outer.include_router(lifespans.router("inner", fails=when))
        service.rest.include_router(outer)

    with pytest.raises(OSError, match=f"inner {when}"):
        async with testing.serving(testing.free(Settings), build):
            """It fails before, or after."""
    assert lifespans.told == FAILING[when]


# What ends the start


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()


def in_a_router(register: Callable[[APIRouter], Any]) -> Build:
    def build(service: Service) -> None:
        inner, outer = APIRouter(), APIRouter()
        register(inner)
        outer.include_router(inner)
        service.rest.include_router(outer, prefix="/p")

    return build


def in_a_mount(service: Service) -> None:
    mounted = FastAPI()
    mounted.websocket("/ws")(socket)
    service.rest.mount("/m", mounted)


def nothing(*_: Any) -> None:
    """Be registered."""


async def handle(*_: Any) -> Response:
    return PlainTextResponse("handled", 418)


def by_hand(service: Service) -> None:
    service.rest.exception_handlers[500] = handle


REFUSED: dict[str, tuple[Build, str]] = {
    "websocket": (lambda service: service.rest.websocket("/ws")(socket), "/ws is a WebSocket"),
    "websocket route": (
        lambda service: service.rest.add_api_websocket_route("/ws", socket),
        "/ws is a WebSocket",
    ),
    "Starlette's": (
        lambda service: service.rest.routes.append(WebSocketRoute("/ws", socket)),
        "/ws is a WebSocket",
    ),
    "websocket of a router": (
        in_a_router(lambda router: router.websocket("/ws")(socket)),
        "WebSocket",
    ),
    "websocket of a mount": (in_a_mount, "WebSocket"),
    "startup": (lambda service: service.rest.on_event("startup")(nothing), r"service\.open"),
    "shutdown": (lambda service: service.rest.on_event("shutdown")(nothing), r"service\.open"),
    "event handler": (
        lambda service: service.rest.router.add_event_handler("startup", nothing),
        r"service\.open",
    ),
    "startup of a router": (
        in_a_router(lambda router: router.on_startup.append(nothing)),
        r"service\.open",
    ),
    "Exception": (
        lambda service: service.rest.add_exception_handler(Exception, handle),
        "no handler can be",
    ),
    "500": (lambda service: service.rest.exception_handler(500)(handle), "no handler can be"),
    "500 by hand": (by_hand, "no handler can be"),
    "debug": (lambda service: setattr(service.rest, "debug", True), "the log has them"),
    "max_body_size": (
        lambda service: setattr(service.rest, "max_body_size", 9),
        r"http\.limits\.body_size",
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of on_event
@pytest.mark.parametrize(("build", "line"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_would_never_be_called_ends_the_start_with_what_to_do_instead(build, line):
    with pytest.raises(StartupError, match=rf"^rest: .*{line}") as told:
        async with serving(build):
            """It does not come to this."""
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "add",
    [
        lambda rest: rest.add_middleware(handle),
        lambda rest: rest.middleware("http")(handle),
        lambda rest: rest.add_exception_handler(404, handle),
    ],
)
async def test_what_comes_too_late_is_refused_where_it_is_said(add):
    services = []
    async with serving(services.append):
        with pytest.raises(RuntimeError, match="after"):
            add(services[0].rest)


# What works


def handler_for_404(service: Service) -> None:
    service.rest.exception_handler(404)(handle)


def middleware(service: Service) -> None:
    @service.rest.middleware("http")
    async def teapot(*_: Any) -> Response:
        return PlainTextResponse("handled", 418)


def mounted_application(service: Service) -> None:
    mounted = FastAPI()
    mounted.get("/x", status_code=418)(lambda: "handled")
    service.rest.mount("", mounted)


def default_response_class(service: Service) -> None:
    service.rest.router.default_response_class = PlainTextResponse
    service.rest.get("/x", status_code=418)(lambda: "handled")


def redirected(service: Service) -> None:
    service.rest.router.redirect_slashes = True
    service.rest.get("/x/", status_code=418)(lambda: "handled")


def default_of_the_router(service: Service) -> None:
    async def default(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("handled", 418)(scope, receive, send)

    service.rest.router.default = default


def host(service: Service) -> None:
    mounted = FastAPI()
    mounted.get("/x", status_code=418)(lambda: "handled")
    service.rest.host("127.0.0.1", mounted)


WORKS = [
    handler_for_404,
    middleware,
    mounted_application,
    default_response_class,
    redirected,
    default_of_the_router,
    host,
]


@pytest.mark.parametrize("build", WORKS)
async def test_what_is_registered_is_called(build):
    async with serving(build) as service:
        answer = await service.rest.get("/x", follow_redirects=True)
    assert (answer.status_code, answer.text.strip('"')) == (418, "handled")


async def test_the_document_and_its_pages_can_be_changed():
    def build(service: Service) -> None:
        service.rest.docs_url = "/pages"
        service.rest.swagger_ui_parameters = {"deepLinking": "never"}
        service.rest.openapi = lambda: {"openapi": "3.1.0", "changed": True}

    async with serving(build) as service:
        assert '"never"' in (await service.rest.get("/pages")).text
        assert (await service.rest.get("/docs")).status_code == 404
        assert (await service.rest.get("/openapi.json")).json()["changed"]


FEW, FEWER = {"max_fields": 5}, {"max_fields": 2}


async def test_the_limits_of_forms_are_those_of_the_innermost_router_that_has_any():
    async def limits(request: Request) -> Any:
        return request.scope["fastapi"].get("form_limits")

    def build(service: Service) -> None:
        service.rest.router.form_limits = FEW
        inner, outer, plain = APIRouter(form_limits=FEWER), APIRouter(), APIRouter()
        for router in (service.rest, inner, plain):
            router.get("/limits")(limits)
        outer.include_router(inner, prefix="/inner")
        service.rest.include_router(outer, prefix="/outer")
        service.rest.include_router(plain, prefix="/plain")

    async with serving(build) as service:
        paths = ("/limits", "/plain/limits", "/outer/inner/limits")
        answers = [(await service.rest.get(path)).json() for path in paths]
        routes = [call.route for call in await service.ended_calls(3)]
    assert answers == [FEW, FEW, FEWER]
    assert routes == [*paths]


async def test_the_limits_of_a_router_are_for_its_own_forms_alone():
    async def limits(request: Request) -> Any:
        return request.scope.get("fastapi", {}).get("form_limits")

    def build(service: Service) -> None:
        limited = APIRouter(form_limits=FEWER)
        for router in (service.rest, limited):
            router.get("/limits")(limits)
        service.rest.include_router(limited, prefix="/limited")

    async with serving(build) as service:
        answers = [(await service.rest.get(path)).json() for path in ("/limits", "/limited/limits")]
    assert answers == [None, FEWER]


@pytest.mark.parametrize("included", [False, True])
async def test_a_frontend_is_served_where_no_route_is(tmp_path, included):
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "a.js").write_text("script")

    def build(service: Service) -> None:
        service.rest.get("/x")(lambda: "x")
        router = APIRouter()
        (router if included else service.rest).frontend("/", directory=tmp_path)
        service.rest.include_router(router)

    async with serving(build) as service:
        page = {"accept": "text/html"}
        answers = [
            await service.rest.get(path, headers=page)
            for path in ("/", "/a.js", "/x", "/docs", "/somewhere")
        ]
        assert [answer.status_code for answer in answers] == [200] * 5
        first, script, route, docs, fallback = (answer.text for answer in answers)
        assert (first, script, route, fallback) == ("page", "script", '"x"', "page")
        assert "swagger" in docs
        assert (await service.rest.get("/none.js")).status_code == 404
        assert (await service.rest.post("/a.js")).status_code == 405
        assert (await service.rest.head("/a.js")).headers["content-length"] == "6"


async def test_a_mounted_application_and_its_routes_have_a_route_in_the_metrics(tmp_path):
    (tmp_path / "a.txt").write_text("a")

    def build(service: Service) -> None:
        mounted = FastAPI()
        mounted.get("/x/{id}")(lambda: "x")
        service.rest.mount("/m", mounted)
        router = APIRouter()
        router.mount("/static", StaticFiles(directory=tmp_path))
        service.rest.include_router(router)
        service.rest.include_router(router, prefix="/p")

    async with serving(build) as service:
        for path in ("/m/x/1", "/m/none", "/static/a.txt", "/p/static/a.txt", "/none"):
            await service.rest.get(path)
            assert (await service.rest.head(path)).status_code in {200, 404}
        calls = await service.ended_calls(10)
    routes = ["/m/x/{id}", "/m/{path}", "/static/{path}", "/p/static/{path}", None]
    assert [call.route for call in calls[::2]] == routes
    assert [call.route for call in calls[1::2]] == routes


# Behind a proxy that shows the port under a path


def showing(service: Service) -> None:
    @service.rest.get("/x")
    async def x(request: Request) -> dict[str, str]:
        return {"root": request.scope["root_path"], "url": str(request.url_for("x").path)}


def with_attribute(service: Service) -> None:
    service.rest.root_path = "/api"
    showing(service)


ROOTED = {"setting": (showing, {"http.root_path": "/api"}), "attribute": (with_attribute, {})}


@pytest.mark.parametrize(("build", "settings"), ROOTED.values(), ids=ROOTED.keys())
async def test_the_root_path_is_in_the_pages_the_document_the_scope_and_the_routing(
    build, settings
):
    async with serving(build, **settings) as service:
        for passed_on in ("", "/api"):
            assert "'/api/openapi.json'" in (await service.rest.get(f"{passed_on}/docs")).text
            document = (await service.rest.get(f"{passed_on}/openapi.json")).json()
            assert document["servers"] == [{"url": "/api"}]
            answer = (await service.rest.get(f"{passed_on}/x")).json()
            assert answer == {"root": "/api", "url": "/api/x"}
        assert {call.route for call in await service.ended_calls(6)} >= {"/x"}


# The pages about the routes

LOADED = re.compile(r'(?:src|href)="([^"]+)"')
OTHER_HOST = re.compile(r"(?:https?:)?//[\w-]+\.\w+")


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_a_page_names_no_other_host_and_what_it_loads_is_here(page, root):
    async with serving(showing, **{"http.root_path": root}) as service:
        answer = await service.rest.get(page)
        assert answer.status_code == 200
        assert OTHER_HOST.findall(answer.text) == []
        for path in LOADED.findall(answer.text):
            assert path.startswith(root)
            assert (await service.rest.get(path)).status_code == 200


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_browser_is_told_to_load_nothing_else_for_a_page(page):
    async with serving(showing) as service:
        policy = (await service.rest.get(page)).headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")


async def test_without_pages_there_are_no_files_of_them():
    def build(service: Service) -> None:
        service.rest.docs_url = service.rest.redoc_url = None

    async with serving(build) as service:
        assert (await service.rest.get("/docs-files/swagger-ui.css")).status_code == 404
