"""The FastAPI application that features add their routes to, and its OpenAPI document."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from http.client import METHOD_NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE
from json import JSONDecodeError, JSONDecoder
from types import SimpleNamespace
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.telemetry import TelemetryConfig
from pydantic import ValidationError
from starlette import requests
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from ..compatibility import named
from ..errors import StartupError
from ..faults import Problem, install, problems
from ..settings import Identity
from ..validation import Step, first_mistakes, validator
from .edge import Middleware
from .fast_path import FastPath, obstacle
from .middleware import ExceptionHandling, answer_other_method, head_as_get
from .pages import add_pages
from .routing import Limited, Routes, all_routes, flat_routes, routers
from .settings import HttpSettings

OFF: TelemetryConfig = {
    "tracing": False,
    "operation_spans": False,
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
NO_JSON = HTTPException(UNSUPPORTED_MEDIA_TYPE, "the content-type has to be application/json")
FRAMEWORK_ERROR = "422"  # what FastAPI documents for a request that we answer with 400
UNFORESEEN = (Exception, HTTPStatus.INTERNAL_SERVER_ERROR)
FRAMEWORK_SCHEMAS = ("HTTPValidationError", "ValidationError")

NO_HANDLER = (
    "no handler can be for Exception or 500: what nobody foresaw is answered"
    " alike on both transports; name your own class, or raise one of twinport.errors"
)
NO_WEBSOCKET = (
    "{} is a WebSocket, which no server here speaks: send events or JSON lines (twinport.rest),"
    " or have a streaming method over gRPC"
)
NO_EVENTS = (
    'handlers of "startup" and "shutdown" are not called: open it in build by service.open(...),'
    " or in the lifespan of a router"
)
NO_DEBUG = "debug would show tracebacks to callers: the log has them, under the trace id"
LIMITS = "limits of a router"
NO_BODY_SIZE = "max_body_size of the application is not looked at: set http.limits.body_size"


class RouteWay(NamedTuple):
    """A route, and what keeps it from the fast path; nothing if it takes that."""

    methods: Sequence[str]
    path: str
    obstacle: str


class Api(FastAPI):
    """An application that answers every error as a problem and documents it so.

    `guard` is the middleware next to the routes, within all others. Plain routes take the fast path
    if `has_fast_path` says so. `add_security` completes the document if callers have to say who
    they are.
    """

    guard: Middleware | None = None
    has_fast_path = True
    add_security: Callable[[dict[str, Any]], None] | None = None
    shared: Mapping[str, Any] = {}
    _documented: dict[str, Any] | None = None
    methods_of: Callable[[Scope], Iterator[str]]
    operations: Sequence[BaseRoute] = ()
    pages: Sequence[BaseRoute] = ()

    def setup(self) -> None:
        """Leave out the pages about the routes: they come last, as routes are tried in order."""

    def add_pages(self) -> None:
        """Add the pages about the routes, when all of these are there; raises StartupError."""
        self._check()
        self.operations = tuple(self.routes)
        add_pages(self)
        super().setup()
        self.pages = tuple(self.routes[len(self.operations) :])

    def _check(self) -> None:
        """Raise StartupError for what has been registered here and would never be called."""
        handlers = [each for each in UNFORESEEN if each in self.exception_handlers]
        sockets = [each for each in all_routes(self.routes) if isinstance(each, WebSocketRoute)]
        events = any(each.on_startup or each.on_shutdown for each in routers(self.router))
        for is_there, line in (
            (handlers, NO_HANDLER),
            (sockets, NO_WEBSOCKET.format(sockets[0].path if sockets else "")),
            (events, NO_EVENTS),
            (self.debug, NO_DEBUG),
            (self.max_body_size is not None, NO_BODY_SIZE),
        ):
            if is_there:
                raise StartupError(f"rest: {line}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the lifespans of the application and of its routers; requests have their state."""
        async with self.router.lifespan_context(self) as state:
            self.shared = dict(state or {})
            yield

    def add_exception_handler(
        self, exc_class_or_status_code: int | type[Exception], handler: Any
    ) -> None:
        """Answer this error in a way of its own; raises StartupError for any error at all."""
        if exc_class_or_status_code in UNFORESEEN:
            raise StartupError(f"rest: {NO_HANDLER}")
        if self.middleware_stack is not None:
            raise RuntimeError("no exception handler can be added after the start")
        super().add_exception_handler(exc_class_or_status_code, handler)

    def build_middleware_stack(self) -> ASGIApp:
        """Return the layers around the routes, but for those whose work the edge does."""
        routes = Routes(self.router, self._answer_of)
        self.methods_of = routes.methods_of
        guarded: ASGIApp = routes if self.guard is None else self.guard(routes)
        app: ASGIApp = ExceptionHandling(guarded, self.exception_handlers)
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app

    def ways(self) -> Iterator[RouteWay]:
        """Yield which way each operation goes; mounted applications go their own."""
        for route in flat_routes(self.operations):
            if isinstance(route, Route):
                yield RouteWay(sorted(route.methods or ()), route.path, self._obstacle(route))
            elif isinstance(route, Limited):
                within = iter_route_contexts([route.included])
                yield from (
                    RouteWay(sorted(each.methods or ()), each.path or "", LIMITS) for each in within
                )

    def _obstacle(self, route: BaseRoute) -> str:
        if not self.has_fast_path:
            return "http.fast_path is false"
        return LIMITS if self.router.form_limits else obstacle(route)

    def _answer_of(self, route: BaseRoute) -> ASGIApp:
        if isinstance(route, APIRoute) and not self._obstacle(route):
            return FastPath(route)
        return route.handle

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of all routes."""
        document = super().openapi()
        if document is not self._documented:  # a new one, also after routes have been added
            self._documented = _with_problems(document)
            if self.add_security is not None:
                self.add_security(document)
        return document


def create_api(identity: Identity, settings: HttpSettings, guard: Middleware | None) -> Api:
    """Return an application without routes; FastAPI's own telemetry is off, the edge has it."""
    options: Any = {"telemetry": OFF, "redirect_slashes": False}  # to a host of the caller's choice
    api = Api(title=identity.name, version=identity.version, **options)
    api.guard, api.root_path, api.has_fast_path = guard, settings.root_path, settings.fast_path
    named("fastapi._compat:ModelField").validate = _validated
    vars(requests)["json"] = SimpleNamespace(loads=_decoded)
    install(api)
    api.add_exception_handler(METHOD_NOT_ALLOWED, answer_other_method)
    api.add_middleware(head_as_get)
    return api


def _validated(
    field: Any, value: Any, _: object = None, *, loc: tuple[Step, ...] = ()
) -> tuple[Any, list[dict[str, Any]]]:
    """Validate as FastAPI's method does, which makes objects of all mistakes, however many."""
    try:
        right = validator(field._type_adapter).validate_python(value, from_attributes=True)
    except ValidationError as error:
        if loc == ("body",) and isinstance(value, bytes):  # FastAPI reads as JSON what says so
            raise NO_JSON from None
        return None, [{**each, "loc": (*loc, *each["loc"])} for each in first_mistakes(error)]
    return right, []


def _refuse_constant(name: str) -> None:
    raise JSONDecodeError(f"{name} is not JSON", name, 0)


DECODER = JSONDecoder(parse_constant=_refuse_constant)


def _decoded(body: bytes) -> Any:
    """Return what a body of JSON says; raises JSONDecodeError for what RFC 8259 does not have.

    Python's `json.loads` takes NaN, UTF-16 and UTF-32, too.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JSONDecodeError("not UTF-8", "", error.start) from None
    return DECODER.decode(text)


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FRAMEWORK_SCHEMAS:
        schemas.pop(name, None)
    definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= definition.pop("$defs", {}) | {"Problem": definition}
    for operations in document.get("paths", {}).values():
        for operation in operations.values():
            _document_errors(operation["responses"])
            _keep_to_3_1(operation["responses"])
    return document


def _document_errors(responses: dict[str, Any]) -> None:
    if responses.pop(FRAMEWORK_ERROR, None):
        responses["400"] = problems(400)[400]
    responses["default"] = {**problems(500)[500], "description": "Any other error"}


def _keep_to_3_1(responses: dict[str, Any]) -> None:
    """Remove the word of OpenAPI 3.2 with which FastAPI describes the items of a stream."""
    for answer in responses.values():
        for content in answer.get("content", {}).values():
            items = content.pop("itemSchema", {})
            content.setdefault("schema", items)
