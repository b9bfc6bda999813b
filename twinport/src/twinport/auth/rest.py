"""The guard in front of the routes, inside of everything else that the framework does."""

from collections.abc import Iterator
from typing import NamedTuple

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls.call import current
from ..rest.listening import CLIENT_CERTIFICATE
from .access import Access
from .guard import Credentials, Guard
from .needs import PUBLIC, Needs, needs
from .settings import AuthSettings

AUTHORIZATION = b"authorization"
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


class GuardedRoute(NamedTuple):
    """A route, and what it needs."""

    route: RouteContext
    needs: Needs | None


def guarded_routes(api: FastAPI, settings: AuthSettings, access: Access) -> list[GuardedRoute]:
    """Return every route in the order in which the framework looks for one."""
    urls = _descriptions(api)
    readers = PUBLIC if settings.descriptions == "public" else needs()
    return [
        GuardedRoute(route, readers if route.path in urls else access.of(route.name or ""))
        for route in iter_route_contexts(api.routes)
    ]


def operations(api: FastAPI) -> Iterator[tuple[str, object]]:
    """Yield the name of each route but those of descriptions, and the function that it runs."""
    for route in iter_route_contexts(api.routes):
        if route.path not in _descriptions(api):
            yield route.name or "", route.endpoint


def protect(api: FastAPI, routes: list[GuardedRoute], guard: Guard) -> None:
    """Ask `guard` about each request, after all middleware and before any route sees it."""
    router = api.router
    router.middleware_stack = _Guarded(router.middleware_stack, routes, guard)


def _descriptions(api: FastAPI) -> set[str | None]:
    return {api.openapi_url, api.docs_url, api.redoc_url, api.swagger_ui_oauth2_redirect_url}


class _Guarded:
    def __init__(self, app: ASGIApp, routes: list[GuardedRoute], guard: Guard) -> None:
        self._app, self._routes, self._guard = app, routes, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        if scope["type"] == "http":
            await self._admit(scope)
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        call = current.get()
        assert call is not None  # the edge is around us
        match, wanted = self._found(scope)
        await self._guard.admit(call, wanted, _credentials(scope))
        if match is Match.NONE:  # what the framework might find elsewhere, nobody has opened
            raise HTTPException(404)

    def _found(self, scope: Scope) -> tuple[Match, Needs | None]:
        """Return what the framework will find; only a known caller hears that it is nothing."""
        best = Match.NONE
        for route, wanted in self._routes:
            match, _ = route.matches(scope)
            if match is Match.FULL:
                return match, wanted
            best = match if match is Match.PARTIAL else best
        return best, needs()


def _credentials(scope: Scope) -> Credentials:
    texts = [text.decode("latin-1") for name, text in scope["headers"] if name == AUTHORIZATION]
    return Credentials(texts, scope.get("state", {}).get(CLIENT_CERTIFICATE))
