"""Routing by table: the route of a path is found by its segments, however many routes there are.

Which route takes a request, and what the scope holds then, is as FastAPI has it.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Generic, NamedTuple, TypeVar

from fastapi import APIRouter
from fastapi.routing import (
    APIRoute,
    RouteContext,
    _EffectiveRouteContext,
    _IncludedRouter,
    iter_route_contexts,
)
from starlette._utils import get_route_path
from starlette.convertors import FloatConvertor, IntegerConvertor, StringConvertor, UUIDConvertor
from starlette.routing import BaseRoute, Host, Match, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..compatibility import named

AnyRoute = TypeVar("AnyRoute")
Segment = str | None  # its text; None is a parameter

ANYTHING = "/{path}"  # what a mounted application says of a path that has no route of its own
PARAMETER = re.compile(r"\{(\w+)\}")
# Routes that look at a path by the regular expression of the one that they were declared with.
BY_PATH = (APIRoute.matches, Route.matches, Mount.matches)
# Parameters that never reach into the next segment.
OF_ONE_SEGMENT = (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)


class Shape(NamedTuple):
    """The segments that the paths of a route begin with; `is_whole` if they end with them, too.

    `names` are those of its parameters if these take any text: then the shape says all.
    """

    segments: Sequence[Segment] = ()
    is_whole: bool = False
    names: Sequence[str] | None = None


def shape_of(route: BaseRoute | RouteContext) -> Shape:
    """Return the shape of a route; nothing is known of one that finds paths in its own way."""
    if isinstance(route, _Mounted):
        return shape_of(route.mount)
    original = route.original_route if isinstance(route, RouteContext) else route
    path: str = getattr(route, "path_format", "")
    if type(original).matches not in BY_PATH or not path.startswith("/"):
        return Shape()
    return _shape(path.split("/")[1:], getattr(route, "param_convertors", {}))


def _shape(texts: Sequence[str], convertors: Mapping[str, Any]) -> Shape:
    segments: list[Segment] = []
    for text in texts:
        parameter = PARAMETER.fullmatch(text)
        if parameter and type(convertors.get(parameter[1])) in OF_ONE_SEGMENT:
            segments.append(None)
        elif "{" in text:
            return Shape(segments)
        else:
            segments.append(text)
    takes_any = all(type(each) is StringConvertor for each in convertors.values())
    return Shape(segments, is_whole=True, names=tuple(convertors) if takes_any else None)


class Entry(NamedTuple, Generic[AnyRoute]):
    """A route in a table, its place in the order, and `names` as its shape has them."""

    place: int
    route: AnyRoute
    names: Sequence[str] | None


class _Node(Generic[AnyRoute]):
    """What is there after some segments: routes whose paths end, or go on as they like."""

    def __init__(self) -> None:
        self.below: dict[Segment, _Node[AnyRoute]] = {}
        self.ending: list[Entry[AnyRoute]] = []
        self.going_on: list[Entry[AnyRoute]] = []

    def at(self, segments: Iterable[Segment]) -> "_Node[AnyRoute]":
        """Return the node after these segments, which is made where there is none."""
        node = self
        for segment in segments:
            node = node.below.setdefault(segment, _Node())
        return node

    def after(self, segment: str) -> "Iterator[_Node[AnyRoute]]":
        """Yield the nodes after a segment of a path; an empty one is no parameter."""
        for each in (segment, None) if segment else (segment,):
            if each in self.below:
                yield self.below[each]


class RouteTable(Generic[AnyRoute]):
    """Finds the routes that may take a path, whatever the number of all."""

    def __init__(self, routes: Iterable[AnyRoute], shape: Callable[[AnyRoute], Shape]) -> None:
        self._routes = tuple(routes)
        self._root: _Node[AnyRoute] = _Node()
        for place, route in enumerate(self._routes):
            segments, is_whole, names = shape(route)
            node = self._root.at(segments)
            entries = node.ending if is_whole else node.going_on
            entries.append(Entry(place, route, names))

    def candidates(self, path: str) -> Sequence[AnyRoute]:
        """Return all routes that may take `path`, in their order; each has to be asked."""
        if path.endswith("\n"):  # `$` in a regular expression passes over it
            return self._routes
        nodes, found = [self._root], [*self._root.going_on]
        for segment in _segments(path):
            nodes = [below for node in nodes for below in node.after(segment)]
            found += (entry for node in nodes for entry in node.going_on)
        if path.startswith("/"):
            found += (entry for node in nodes for entry in node.ending)
        return [entry.route for entry in sorted(found, key=_place)]

    def certain(self, path: str) -> tuple[Sequence[Entry[AnyRoute]], Sequence[str]]:
        """Return the routes whose shape is that of `path`, and the values of parameters.

        If a route of another shape may take it, too, nothing: then `candidates` are to be asked.
        """
        node, values = self._root, list[str]()
        for segment in _segments(path):
            found, parameter = node.below.get(segment), node.below.get(None)
            if node.going_on or (found and parameter):
                return (), ()
            if found is None and parameter and segment:
                found = parameter
                values.append(segment)
            if found is None:
                return (), ()
            node = found
        is_certain = not node.going_on and path[-1:] != "\n"
        return (node.ending, values) if is_certain else ((), ())


def _segments(path: str) -> Sequence[str]:
    before, *segments = path.split("/")
    return () if before else segments  # a path begins with a slash, or no route takes it


def _place(entry: Entry[Any]) -> int:
    return entry.place


class Target(NamedTuple):
    """A route, and what answers in its place: its own `handle`, or what does the same sooner."""

    route: Any
    answer: ASGIApp


class _Changes:
    """How often a route was added to any router of this process."""

    count = 0


_mark = APIRouter._mark_routes_changed


def _count_change(router: APIRouter) -> None:
    _mark(router)
    _Changes.count += 1


class Routes:
    """Hands each request to the first route that takes it; what none takes is the framework's.

    FastAPI would look for a route in each included router on its own, and twice in the right one.
    As with FastAPI, routes that are added to any router later are found, too.
    """

    def __init__(self, router: APIRouter, answer_of: Callable[[BaseRoute], ASGIApp]) -> None:
        # To ask each router for its version would cost each call the more, the more there are.
        named("fastapi.routing:APIRouter")._mark_routes_changed = _count_change
        self._router, self._answer_of = router, answer_of
        self._look_again()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._seen != (_Changes.count, len(self._router.routes)):
            self._look_again()
        target = self._certain(scope) if scope["type"] == "http" else None
        answer = self._search if target is None else target.answer
        return answer(scope, receive, send)

    def _certain(self, scope: Scope) -> Target | None:
        """Return the target of a request, and complete its scope; None if there may be others."""
        entries, values = self._table.certain(get_route_path(scope))
        for _, target, names in entries:
            if names is None:
                break
            if _takes(target.route, scope["method"]):
                parameters = dict(zip(names, values, strict=True))
                outer = scope.get("path_params")
                scope["path_params"] = {**outer, **parameters} if outer else parameters
                scope["endpoint"], scope["route"] = target.route.endpoint, target.route
                scope["router"] = self._router
                return target
        return None

    async def _search(self, scope: Scope, receive: Receive, send: Send) -> None:
        found: Target | None = None
        found_scope: Scope = {}
        for target in self._table.candidates(get_route_path(scope)):
            match, child_scope = target.route.matches(scope)
            if match is Match.FULL:
                found, found_scope = target, child_scope
                break
            if match is Match.PARTIAL and found is None:  # but for the method
                found, found_scope = target._replace(answer=target.route.handle), child_scope
        if found is None:
            await self._not_found(scope, receive, send)
            return
        scope.update({"router": self._router, "route": found.route}, **found_scope)
        await found.answer(scope, receive, send)

    def methods_of(self, scope: Scope) -> Iterator[str]:
        """Yield the methods that the path of a request takes, some of them twice."""
        for route in self._contexts.candidates(get_route_path(scope)):
            if route.matches(scope)[0] is not Match.NONE:
                yield from route.methods or ()
                yield from ("HEAD",) if "GET" in (route.methods or ()) else ()

    async def _not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave to the framework what it may still find, by looking at each route."""
        router = self._router
        if self._has_others or router.redirect_slashes or scope["type"] != "http":
            await _found_by_fastapi(router, scope, receive, send)
        else:
            scope["router"] = router
            await router.default(scope, receive, send)

    def _look_again(self) -> None:
        self._seen = _Changes.count, len(self._router.routes)
        # Where the application has limits for forms, FastAPI applies them on looking for a route.
        flat = () if self._router.form_limits else flat_routes(self._router.routes)
        targets = [Target(each, self._answer_of(each)) for each in flat]
        self._table = RouteTable(targets, lambda target: shape_of(target.route))
        self._contexts = RouteTable(iter_route_contexts(self._router.routes), shape_of)
        pages = any(each._low_priority_routes for each in routers(self._router))
        self._has_others = pages or bool(self._router.form_limits)


def _takes(route: Any, method: str) -> bool:
    return not route.methods or method in route.methods


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


def flat_routes(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    """Yield `routes`, and in place of an included router its own, with their whole path."""
    for route in routes:
        yield from _flat(route)


def _flat(route: BaseRoute | _EffectiveRouteContext) -> Iterator[BaseRoute]:
    """Yield what a request looks at in place of `route`."""
    if isinstance(route, _EffectiveRouteContext):
        yield from _flat(_as_route(route))
    elif isinstance(route, Mount):
        yield _Mounted(route)
    elif not isinstance(route, _IncludedRouter):
        yield route
    elif _has_limits(route):
        yield Limited(route)
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
        self.mount = mount
        self._others = _Found(mount.path + ANYTHING)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return self.mount.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = {**scope, "route": None}
        try:
            await self.mount.handle(inner, receive, send)
        finally:
            path = getattr(inner["route"], "path", None)
            scope["route"] = self._others if path is None else _Found(self.mount.path + path)


class Limited(BaseRoute):
    """An included router with limits of its own; FastAPI looks for the route in it."""

    def __init__(self, included: _IncludedRouter) -> None:
        self.included = included

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return self.included.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _found_by_fastapi(self.included.handle, scope, receive, send)


async def _found_by_fastapi(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Let FastAPI look for the route, which has its whole path afterwards."""
    try:
        await app(scope, receive, send)
    finally:
        context = scope.get("fastapi", {}).get("effective_route_context")
        if context is not None:
            scope["route"] = _Found(getattr(context.starlette_route or context, "path", ""))
