"""One request, on HTTP/1.1 or an HTTP/2 stream: its body buffer, its handler, its answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http.client import BAD_REQUEST, INTERNAL_SERVER_ERROR, SERVICE_UNAVAILABLE
from typing import Any, cast
from urllib.parse import unquote

from hypercorn.protocol.events import Body, EndBody, Event, Request, StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import HTTPScope
from starlette.types import ASGIApp, Message, Send

from ..connections import Connections, answer_empty, log_refusal

log = logging.getLogger("hypercorn.error")


ROOM_BYTES = 64 * 1024  # of a body that nobody reads; at least the window of an HTTP/2 stream

Taken = Callable[[int, int], Awaitable[None]]


class HardenedStream(HTTPStream):
    """A request that never holds up its connection, and whose handler (a task) can be cut.

    Each has a handler, also where that only refuses it, and ends with it at the latest. The handler
    is known here, to whom its client leaves, and to all Connections, which cut it at the stop.

    hypercorn puts the body into a queue of ten parts: who answers early leaves that full, and then
    neither the connection nor the handler ever ends.
    """

    def __init__(
        self,
        protocol: H11Protocol | H2Protocol,
        stream_id: int,
        connections: Connections,
        taken: Taken | None = None,
    ) -> None:
        super().__init__(
            protocol.app,
            protocol.config,
            protocol.context,
            protocol.task_group,
            protocol.ssl,
            protocol.client,
            protocol.server,
            protocol.stream_send,
            stream_id,
        )
        self.body_ended = False
        self._connections, self._taken = connections, taken
        self._body = bytearray()
        self._body_told = False
        self._changed: asyncio.Event | None = None
        self._handler: asyncio.Task[None] | None = None

    @property
    def answered(self) -> bool:
        """Whether the whole answer has been handed over."""
        return self.state is ASGIHTTPState.CLOSED

    async def handle(self, event: Event) -> None:
        """Take what the client has sent, or that it has left."""
        if self.closed:
            return
        if isinstance(event, Request):
            await self._begin(event)
        elif isinstance(event, Body):
            await self._add(event.data)
        elif isinstance(event, EndBody):
            self.body_ended = True
            self._note_change()
        elif isinstance(event, StreamClosed):
            self.closed = True
            self._note_change()
            await self._give_back()

    async def _begin(self, request: Request) -> None:
        self.scope = _scope(self, request)
        self.start_time = 0.0  # hypercorn's access log is not used
        work = self._run() if request.raw_path.isascii() else self._end(BAD_REQUEST)
        self._handler = asyncio.get_running_loop().create_task(work)
        self._connections.adopt(self._handler)
        self._handler.add_done_callback(self._check_end)

    async def _run(self) -> None:
        app = cast(ASGIApp, self.app)  # hypercorn only hands it on
        try:
            await app(cast(Any, self.scope), self._receive, self._respond)
        finally:
            await self._end()

    def _check_end(self, handler: asyncio.Task[None]) -> None:
        self._connections.release(handler)
        if not handler.cancelled() and (error := handler.exception()) is not None:
            log.error("the application raised", exc_info=error)

    async def _end(self, status: int | None = None) -> None:
        """End the stream; where nothing is answered, with `status` or that the handler failed."""
        if self.closed:
            return
        if self.state is not ASGIHTTPState.REQUEST:
            await self.send(StreamClosed(self.stream_id))
            return
        failed = SERVICE_UNAVAILABLE if self._connections.ending else INTERNAL_SERVER_ERROR
        ids = log_refusal(status, self.client) if status == BAD_REQUEST else []
        await answer_empty(cast(Send, self.app_send), status or failed, *ids)

    async def _receive(self) -> Message:
        while not (self._body or self.closed or (self.body_ended and not self._body_told)):
            await self._change()
        if self.closed:
            return {"type": "http.disconnect"}
        body = bytes(self._body)
        await self._give_back()
        self._body_told = self.body_ended
        return {"type": "http.request", "body": body, "more_body": not self.body_ended}

    def _respond(self, message: Message) -> Awaitable[None]:
        if self.closed and not self.answered:
            return self._cancel_handler()
        return self.app_send(cast(Any, message))

    async def _cancel_handler(self) -> None:
        """End a handler that still answers, although its client has gone."""
        if self._handler is not None:
            self._handler.cancel()
        await asyncio.sleep(0)

    async def _add(self, data: bytes) -> None:
        self._body += data
        self._note_change()
        while len(self._body) > ROOM_BYTES:  # until it is read, or the stream has ended
            await self._change()

    async def _give_back(self) -> None:
        """Empty the room that the body takes; an HTTP/2 client may then send as much again."""
        size = len(self._body)
        self._body.clear()
        if size:
            self._note_change()
            if self._taken is not None:
                await self._taken(self.stream_id, size)

    async def _change(self) -> None:
        self._changed = self._changed or asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _note_change(self) -> None:
        if self._changed is not None:
            self._changed.set()


def _scope(stream: HardenedStream, request: Request) -> HTTPScope:
    path, _, query = request.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"spec_version": "2.3", "version": "3.0"},
        "http_version": request.http_version,
        "method": request.method,
        "scheme": stream.scheme,
        "path": unquote(path.decode("ascii")) if path.isascii() else "",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": stream.client,
        "server": stream.server,
        "state": cast(Any, request.state.copy()),
        "extensions": {},
    }
