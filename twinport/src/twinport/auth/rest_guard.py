"""The guard of REST: checks permissions in front of each route, and says so in OpenAPI."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

from fastapi.routing import RouteContext, iter_route_contexts
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from ..calls import current
from ..errors import StartupError
from ..faults import problems
from ..rest.api import Api
from ..rest.routing import RouteTable, Shape, routers, shape_of
from ..rest.servers.asyncio_server import CLIENT_CERTIFICATE
from .permissions import PUBLIC, Credentials, Guard, Needs, PermissionTable, needs
from .settings import AuthSettings

NO_FRONTEND = (
    "frontend would be closed to all, as [auth] is on: mount StaticFiles(directory=..., html=True)"
    " with a name, for which service.allow says what it needs"
)
AUTHORIZATION = b"authorization"
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1


class GuardedRoute(NamedTuple):
    """A route, and what it needs."""

    route: RouteContext
    needs: Needs | None


def operations(api: Api) -> Iterator[tuple[str, Hashable]]:
    """Yield the name of each route but those of descriptions, and what it runs."""
    for route in iter_route_contexts(api.operations):
        yield route.name or "", route.endpoint or id(route.original_route)


class RestGuard:
    """Asks `guard` about each request, after all middleware and before any route sees it.

    It is a layer of our own stack, so no name of the framework's decides whether it is asked; and
    until it knows the routes, there are none.
    """

    def __init__(self, guard: Guard, permissions: PermissionTable, settings: AuthSettings) -> None:
        self._guard, self._permissions = guard, permissions
        self._description_needs = PUBLIC if settings.descriptions == "public" else needs()
        self._table = RouteTable[GuardedRoute]((), _shape)

    def protect(self, api: Api) -> Sequence[GuardedRoute]:
        """Take every route of `api`, in the order in which the framework looks for one.

        Raises StartupError for a frontend, which has no name by which somebody could open it.
        """
        if any(router._low_priority_routes for router in routers(api.router)):
            raise StartupError(f"rest: {NO_FRONTEND}")
        routes = [
            *(
                GuardedRoute(route, self._permissions.of(route.name or ""))
                for route in iter_route_contexts(api.operations)
            ),
            *(
                GuardedRoute(route, self._description_needs)
                for route in iter_route_contexts(api.pages)
            ),
        ]
        self._table = RouteTable(routes, _shape)
        return routes

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Return `app`, the routes, with the guard in front."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return
            if scope["type"] == "http":
                await self._admit(scope)
            await app(scope, receive, send)

        return answer

    async def _admit(self, scope: Scope) -> None:
        call = current.get()
        assert call is not None  # the edge is around us
        match, found = self._found(scope)
        needed = found.needs if found and match is Match.FULL else needs()
        await self._guard.admit(call, needed, _credentials(scope))
        if found is None:  # what the framework might find elsewhere, nobody has opened
            raise HTTPException(404)
        if match is not Match.FULL:
            scope["route"] = found.route.original_route
            raise HTTPException(405)

    def _found(self, scope: Scope) -> tuple[Match, GuardedRoute | None]:
        """Return what the framework will find; only a known caller hears that it is nothing."""
        partial: GuardedRoute | None = None
        for each in self._table.candidates(get_route_path(scope)):
            match, _ = each.route.matches(scope)
            if match is Match.FULL:
                return match, each
            if match is Match.PARTIAL:
                partial = partial or each
        return Match.PARTIAL, partial


def _shape(guarded: GuardedRoute) -> Shape:
    return shape_of(guarded.route)


def _credentials(scope: Scope) -> Credentials:
    texts = [text.decode("latin-1") for name, text in scope["headers"] if name == AUTHORIZATION]
    return Credentials(texts, scope.get("state", {}).get(CLIENT_CERTIFICATE))


class Scheme(NamedTuple):
    """A security scheme by its name in the document."""

    name: str
    description: dict[str, Any]


SCHEMES = {
    "jwt": Scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}),
    "mtls": Scheme("certificate", {"type": "mutualTLS"}),
}


def add_security(
    document: dict[str, Any], routes: Sequence[GuardedRoute], settings: AuthSettings
) -> None:
    """Add to `document` how callers say who they are, and which scopes each operation needs."""
    scheme = SCHEMES[settings.mode]
    document["components"]["securitySchemes"] = {scheme.name: scheme.description}
    refusals = {str(status): answer for status, answer in problems(401, 403).items()}
    for route, needed in routes:
        for operation in _operations(document, route):
            operation.update(_security(scheme.name, needed))
            operation["responses"] = refusals | operation["responses"]


def _security(scheme: str, needed: Needs | None) -> dict[str, Any]:
    scopes = sorted(needed.scopes) if needed else []
    return {"security": [] if needed and needed.public else [{scheme: scopes}]}


def _operations(document: dict[str, Any], route: RouteContext) -> Iterator[dict[str, Any]]:
    methods = document["paths"].get(route.path_format, {})
    for method in route.methods or ():
        if method.lower() in methods:
            yield methods[method.lower()]
