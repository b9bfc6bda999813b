"""One request as uvicorn has read it: the application runs until it has answered, or is cut."""

import asyncio
from collections.abc import Awaitable
from http.client import SERVICE_UNAVAILABLE
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from .connections import HANDLER, Connections

Sent = Awaitable[None]  # once: to write it where a function is made costs each request


def start(app: ASGIApp, cycle: RequestResponseCycle, connections: Connections) -> None:
    """Run `app` for one request, among the handlers of `connections`."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        def respond(message: Message) -> Sent:
            if cycle.more_body:
                cycle.keep_alive = True  # else uvicorn would close, and destroy the answer
            return _give_up(handler) if cycle.disconnected else send(message)

        scope[HANDLER] = handler
        try:
            await app(scope, receive, respond)
        except asyncio.CancelledError:
            await _break_off(cycle, send)
        finally:
            connections.release(handler)

    handler = asyncio.get_running_loop().create_task(cycle.run_asgi(cast(Any, answer)))
    connections.adopt(handler)


async def _give_up(handler: asyncio.Task[None]) -> None:
    """End a handler that still answers, although its client has gone."""
    handler.cancel()
    await asyncio.sleep(0)


async def _break_off(cycle: RequestResponseCycle, send: Send) -> None:
    """Say goodbye to a client whose handler has been cut."""
    if cycle.response_started or cycle.disconnected:
        cycle.transport.abort()
        await asyncio.sleep(0)
        return
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": SERVICE_UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
