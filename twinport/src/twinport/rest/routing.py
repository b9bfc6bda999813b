"""The routes of all routers in one list, so that a request looks at each of them once."""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.routing import APIRoute, _EffectiveRouteContext, _IncludedRouter
from starlette.routing import BaseRoute, Host, Match, Mount
from starlette.types import Receive, Scope, Send

ANYTHING = "/{path}"  # what a mounted application says of a path that has no route of its own


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
            await self._router(scope, receive, send)
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
        self._routes = [flat for route in self._router.routes for flat in _flat(route)]
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
        try:
            await self._included.handle(scope, receive, send)
        finally:
            context = scope["fastapi"].get("effective_route_context")
            if context is not None:
                scope["route"] = _Found(getattr(context.starlette_route or context, "path", ""))
