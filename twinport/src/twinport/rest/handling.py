"""Handlers of a server that starts them itself, and tells them little about their client."""

import asyncio
from collections.abc import Awaitable
from http.client import SERVICE_UNAVAILABLE
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .connections import HANDLER, Connections

LARGE_BYTES = 64 * 1024  # less fits into the buffers on the way


class Handling:
    """Runs an application so that its client's leaving, or not reading, and the stop can end it."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        self._app, self._connections = app, connections
        self._send_s = connections.limits.send_time.total_seconds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[HANDLER] = handler = asyncio.current_task()
        assert handler is not None
        self._connections.adopt(handler)
        handled = _Handled(handler, receive, send, self._send_s)
        try:
            await self._app(scope, handled.receive, handled.send)
        except asyncio.CancelledError:
            if not handled.started:
                await _say_goodbye(send)
        finally:
            if handled.ahead is not None:
                handled.ahead.cancel()
            self._connections.release(handler)


class _Handled:
    """One request; while it is answered in parts, somebody looks out for the client's leaving."""

    started = _reading = False

    def __init__(
        self, handler: asyncio.Task[Any], receive: Receive, send: Send, send_s: float
    ) -> None:
        self._handler, self._receive, self._send, self._send_s = handler, receive, send, send_s
        self._read: list[Message] = []
        self.ahead: asyncio.Task[None] | None = None  # who looks out

    async def receive(self) -> Message:
        """Hand on what the client has sent."""
        if self.ahead is not None:
            await asyncio.wait([self.ahead])
        if self._read:
            return self._read.pop(0)
        self._reading = True
        try:
            return await self._receive()
        finally:
            self._reading = False

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a part of the answer; a client that takes none of it is given up."""
        body = message.get("body")
        if body is None:
            self.started = True
        elif len(body) > LARGE_BYTES or message.get("more_body"):
            return self._send_large(message)
        return self._send(message)

    async def _send_large(self, message: Message) -> None:
        self._look_out()
        try:
            async with asyncio.timeout(self._send_s):
                await self._send(message)
        except TimeoutError:
            self._handler.cancel()
        await asyncio.sleep(0)  # to a client that has gone, granian sends without any wait

    def _look_out(self) -> None:
        if self.ahead is None and not self._reading:
            self.ahead = asyncio.get_running_loop().create_task(self._until_left())

    async def _until_left(self) -> None:
        """Read on up to the disconnect, unless there is a body, which is not ours to read."""
        more_body = False
        while not more_body:
            message = await self._receive()
            self._read.append(message)
            more_body = message.get("more_body", False)
            if message["type"] == "http.disconnect":
                self._handler.cancel()
                return


async def _say_goodbye(send: Send) -> None:
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": SERVICE_UNAVAILABLE, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
