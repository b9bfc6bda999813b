"""The layers of the application: CORS, gzip, error handlers, HEAD and OPTIONS, and the routes."""

import asyncio
import re
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from copy import copy
from functools import lru_cache
from http.client import METHOD_NOT_ALLOWED, NO_CONTENT
from typing import Any, NamedTuple

from fastapi import APIRouter, Response
from fastapi.routing import (
    APIRoute,
    _EffectiveRouteContext,
    _IncludedRouter,
    iter_route_contexts,
)
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.middleware.gzip import (
    DEFAULT_EXCLUDED_CONTENT_TYPES,
    GZipMiddleware,
    GZipResponder,
    IdentityResponder,
)
from starlette.requests import Request
from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from ..calls import REQUEST_ID, TRACE_ID
from ..faults import refusal
from .edge import Middleware
from .settings import HttpCors, HttpSettings
from .streams import LINES

READABLE = (TRACE_ID, REQUEST_ID, "retry-after")  # else a script in a browser does not see them
GZIP = re.compile(rb"gzip(?:\s*;\s*q=([01](?:\.[0-9]{0,3})?))?")
NO_BODY: Message = {"type": "http.response.body", "body": b""}
ANYTHING = "/{path}"  # what a mounted application says of a path that has no route of its own
AS_THEY_ARE = (*DEFAULT_EXCLUDED_CONTENT_TYPES, LINES)  # events and lines go out at once


def cors_and_gzip(settings: HttpSettings) -> Middleware:
    """Return what puts the middleware of `settings` around an application; if unset, nothing."""

    def put_around(app: ASGIApp) -> ASGIApp:
        if settings.gzip is not None:
            size, level = settings.gzip.min_size, settings.gzip.level
            app = head_as_get(Gzip(app, size, level, exclude_content_types=AS_THEY_ARE))
        return app if settings.cors is None else _with_cors(app, settings.cors)

    return put_around


def _with_cors(app: ASGIApp, cors: HttpCors) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_origin_regex=cors.origin_pattern or None,
        allow_methods=cors.methods,
        allow_headers=cors.headers,
        allow_credentials=cors.credentials,
        expose_headers=(*READABLE, *cors.exposed),
        max_age=int(cors.max_age.total_seconds()),
    )


class Gzip(GZipMiddleware):
    """Compresses for who accepts it; Starlette does so for each header that has the word in it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        responder = self._zipped() if _accepts_gzip(_accepted(scope)) else self._plain()
        await responder(scope, receive, send)

    def _zipped(self) -> IdentityResponder:
        size, level, kinds = self.minimum_size, self.compresslevel, self.exclude_content_types
        return GZipResponder(self.app, size, level, exclude_content_types=kinds)

    def _plain(self) -> IdentityResponder:
        kinds = self.exclude_content_types
        return IdentityResponder(self.app, self.minimum_size, exclude_content_types=kinds)


def _accepted(scope: Scope) -> bytes:
    return b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")


@lru_cache(maxsize=256)  # clients say the same again and again
def _accepts_gzip(accepted: bytes) -> bool:
    """Tell whether `gzip` is in a list with weights (RFC 9110, 12.5.3); 0 is a refusal."""
    weights = [GZIP.fullmatch(each.strip()) for each in accepted.lower().split(b",")]
    return any(weight is not None and float(weight[1] or 1) > 0 for weight in weights)


class ExceptionHandling(ExceptionMiddleware):
    """Exception handlers for what leaves the routes; each route has them for its own function.

    It also closes the files of a form, as FastAPI's AsyncExitStackMiddleware does.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[Any, ExceptionHandler]) -> None:
        super().__init__(app, handlers)
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["starlette.exception_handlers"] = (self._exception_handlers, self._status_handlers)
        files = scope["fastapi_middleware_astack"] = _FormFiles()
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # handled, or raised again, as if it had come from within
            await ExceptionMiddleware(_raising(error), self._handlers)(scope, receive, send)
        finally:
            if files.are_there:
                await files.aclose()


class _FormFiles(AsyncExitStack):
    """Where FastAPI leaves what closes the files of a form; most requests have none."""

    are_there = False

    def push_async_callback(self, *args: Any, **kwargs: Any) -> Any:
        self.are_there = True
        return super().push_async_callback(*args, **kwargs)


def _raising(error: Exception) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return app


def head_as_get(app: ASGIApp) -> ASGIApp:
    """Return `app`, which answers a HEAD with the head of what it answers a GET."""

    def answer(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope.get("method") != "HEAD":
            return app(scope, receive, send)
        return _Head(send).of(app, scope, receive)

    return answer


class _Head:
    """Sends on the head of an answer; a body that has no known end is not waited for."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._work: asyncio.Future[None] | None = None

    async def of(self, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        get_scope = {**scope, "method": "GET"}
        work = self._work = asyncio.ensure_future(app(get_scope, receive, self._send_head))
        try:
            await asyncio.wait([work])
        finally:
            work.cancel()
            scope.update(get_scope, method="HEAD")  # the route, for those who look at it later
        if not work.cancelled():
            work.result()
            await self._send(NO_BODY)

    async def _send_head(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        await self._send(message)
        is_stream = all(name != b"content-length" for name, _ in message.get("headers", ()))
        if is_stream and self._work is not None:
            self._work.cancel()
            await self._send(NO_BODY)


async def answer_other_method(request: Request, error: Exception) -> Response:
    """Answer OPTIONS with what the path takes, and what it does not take with a 405."""
    allow = {"allow": ", ".join(sorted({*_allowed(request), "OPTIONS"}))}
    if request.method == "OPTIONS":
        return Response(status_code=NO_CONTENT, headers=allow)
    detail = error.detail if isinstance(error, HTTPException) else None
    return refusal(HTTPException(METHOD_NOT_ALLOWED, detail, allow))


def _allowed(request: Request) -> Iterator[str]:
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            yield from route.methods or ()
            yield from ("HEAD",) if "GET" in (route.methods or ()) else ()


class Routes:
    """Hands each request to the first route that takes it; what none takes is the framework's.

    FastAPI would look for a route in each included router on its own, and twice in the right one.
    As with FastAPI, routes that are added to any router later are found, too.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._routers: Sequence[APIRouter] = (router,)
        self._routes: Sequence[BaseRoute] = ()
        self._seen = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._seen != self._changes():
            self._look_again()
        found: BaseRoute | None = None
        found_scope: Scope = {}
        for route in self._routes:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                found, found_scope = route, child_scope
                break
            if match is Match.PARTIAL and found is None:  # but for the method
                found, found_scope = route, child_scope
        if found is None:
            await _found_by_fastapi(self._router, scope, receive, send)
            return
        scope.update({"router": self._router, "route": found}, **found_scope)
        await found.handle(scope, receive, send)

    def _changes(self) -> int:
        """Return a number that is another one after a change."""
        count = len(self._router.routes)
        for router in self._routers:
            count += router._routes_version
        return count

    def _look_again(self) -> None:
        self._routers = tuple(routers(self._router))
        # Where the application has limits for forms, FastAPI applies them on looking for a route.
        routes = () if self._router.form_limits else self._router.routes
        self._routes = [flat for route in routes for flat in _flat(route)]
        self._seen = self._changes()


def routers(router: APIRouter) -> Iterator[APIRouter]:
    """Yield `router` and those that are included in it, at any depth."""
    yield router
    for route in router.routes:
        if isinstance(route, _IncludedRouter):
            yield from routers(route.original_router)


def all_routes(routes: Sequence[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield `routes`, and those of included routers and of mounted applications."""
    for route in routes:
        yield route
        if isinstance(route, _IncludedRouter):
            yield from all_routes(route.original_router.routes)
        elif isinstance(route, (Mount, Host)):
            yield from all_routes(route.routes)


def _flat(route: BaseRoute | _EffectiveRouteContext) -> Iterator[BaseRoute]:
    """Yield what a request looks at in place of `route`."""
    if isinstance(route, _EffectiveRouteContext):
        yield from _flat(_as_route(route))
    elif isinstance(route, Mount):
        yield _Mounted(route)
    elif not isinstance(route, _IncludedRouter):
        yield route
    elif _has_limits(route):
        yield _Limited(route)
    else:
        for each in route.effective_candidates():
            yield from _flat(each)


def _has_limits(included: _IncludedRouter) -> bool:
    """Tell whether a router has limits of its own, which FastAPI applies on entering it."""
    context = included.include_context
    return bool(context.form_limits) or context.max_body_size is not None


def _as_route(context: _EffectiveRouteContext) -> BaseRoute:
    """Return a route that is as one of an included router is there, with its whole path."""
    if context.starlette_route is not None:
        return context.starlette_route
    route = copy(context.original_route)
    assert isinstance(route, APIRoute)
    vars(route).update(vars(context))
    return route


class _Found(NamedTuple):
    """What metrics, spans and log lines say of a route: its path, as the application has it."""

    path: str


class _Mounted(BaseRoute):
    """A mounted application; its routes have the path under which it is mounted, too."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._others = _Found(mount.path + ANYTHING)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return self._mount.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = {**scope, "route": None}
        try:
            await self._mount.handle(inner, receive, send)
        finally:
            path = getattr(inner["route"], "path", None)
            scope["route"] = self._others if path is None else _Found(self._mount.path + path)


class _Limited(BaseRoute):
    """An included router with limits of its own; FastAPI looks for the route in it."""

    def __init__(self, included: _IncludedRouter) -> None:
        self._included = included

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return self._included.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _found_by_fastapi(self._included.handle, scope, receive, send)


async def _found_by_fastapi(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let FastAPI look for the route, which has its whole path afterwards."""
    try:
        await app(scope, receive, send)
    finally:
        context = scope.get("fastapi", {}).get("effective_route_context")
        if context is not None:
            scope["route"] = _Found(getattr(context.starlette_route or context, "path", ""))
