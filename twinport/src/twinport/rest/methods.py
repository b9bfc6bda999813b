"""HEAD on every route of GET, OPTIONS on every route, and a 405 that names what is allowed."""

import asyncio
from collections.abc import Awaitable, Iterator
from http.client import METHOD_NOT_ALLOWED, NO_CONTENT

from fastapi import Request, Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..faults.problem import refusal

NO_BODY: Message = {"type": "http.response.body", "body": b""}


def heads_as_gets(app: ASGIApp) -> ASGIApp:
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
        asked = {**scope, "method": "GET"}
        work = self._work = asyncio.ensure_future(app(asked, receive, self._sent))
        try:
            await asyncio.wait([work])
        finally:
            work.cancel()
            scope.update(asked, method="HEAD")  # the route, for those who look at it later
        if not work.cancelled():
            work.result()
            await self._send(NO_BODY)

    async def _sent(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        await self._send(message)
        is_stream = all(name != b"content-length" for name, _ in message.get("headers", ()))
        if is_stream and self._work is not None:
            self._work.cancel()
            await self._send(NO_BODY)


async def answer_other_method(request: Request, error: Exception) -> Response:
    """Answer OPTIONS with what the path takes, and what it does not take with a 405."""
    allow = {"allow": ", ".join(sorted(set(_allowed(request))))}
    if request.method == "OPTIONS":
        return Response(status_code=NO_CONTENT, headers=allow)
    detail = error.detail if isinstance(error, HTTPException) else None
    return refusal(HTTPException(METHOD_NOT_ALLOWED, detail, allow))


def _allowed(request: Request) -> Iterator[str]:
    yield "OPTIONS"
    for route in iter_route_contexts(request.app.routes):
        if route.matches(request.scope)[0] is not Match.NONE:
            yield from route.methods or ()
            yield from ("HEAD",) if "GET" in (route.methods or ()) else ()
