"""One HTTP request and its answer: what is read, what is written, and whether anybody listens."""

import asyncio
from collections.abc import Awaitable

from starlette.types import Message, Receive, Send

from .call import Call
from .edge import REQUEST_ID, TRACE_ID
from .gate import Gate

WATCH_AFTER_S = 0.05  # a shorter call ends before anybody could notice that its caller has gone
BODILESS = frozenset({204, 304})


class Exchange:
    """Stands between server and application; `gone` turns true when the caller hangs up."""

    def __init__(self, call: Call, gate: Gate, receive: Receive, send: Send) -> None:
        self.call = call
        self.started = self.gone = False
        self._gate, self._receive, self._send = gate, receive, send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)
        self._body_read = self._reading = False
        self._ahead: asyncio.Task[Message] | None = None
        self._left: asyncio.Task[Message] | None = None
        self._timer = self._loop.call_later(WATCH_AFTER_S, self._watch)
        self.limit: asyncio.Timeout | None = None

    async def receive(self) -> Message:
        """Hand on the next part of the body, then what tells that the caller has gone."""
        if self._body_read:
            return await asyncio.shield(self._until_left())
        self._reading = True
        message = await (asyncio.shield(self._ahead) if self._ahead else self._receive())
        self._ahead, self._reading = None, False
        if message["type"] == "http.request":
            self.call.received_bytes += len(message.get("body", b""))
            self._body_read = _is_last(message)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Hand on a part of the answer; raises OverloadedError for one stream too many."""
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self.call.sent_bytes += len(message.get("body", b""))
        return self._send(message)

    def close(self) -> None:
        """Stop watching the caller."""
        self._timer.cancel()
        for task in filter(None, (self._ahead, self._left)):
            task.cancel()

    def forgives_cancelling(self) -> bool:
        """Tell whether it was the caller's leaving that cancelled the call, and take that back."""
        if self.gone and self._task is not None:
            self._task.uncancel()
        return self.gone

    def is_late(self) -> bool:
        """Tell whether the deadline has ended the call."""
        return self.limit is not None and self.limit.expired()

    def _start(self, message: Message) -> None:
        call, headers = self.call, message.setdefault("headers", [])
        if self._is_stream(message["status"], headers):
            self._gate.admit_stream(call)
            if self.limit is not None:
                self.limit.reschedule(None)
        self.started = True
        call.status = message["status"]
        message["headers"] = [
            *headers,
            (TRACE_ID.encode(), call.trace_id.encode()),
            (REQUEST_ID.encode(), call.request_id.encode()),
        ]

    def _is_stream(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        if self.call.method == "HEAD" or status in BODILESS:
            return False
        return all(name != b"content-length" for name, _ in headers)

    def _watch(self) -> None:
        """Cancel the call when its caller hangs up, also where nobody reads the body."""
        if self._body_read:
            self._until_left().add_done_callback(self._cancel)
        elif self._reading or self._ahead:  # whoever reads hears of it
            self._timer = self._loop.call_later(WATCH_AFTER_S, self._watch)
        else:
            self._ahead = self._loop.create_task(_awaited(self._receive))
            self._ahead.add_done_callback(self._look)

    def _look(self, ahead: asyncio.Task[Message]) -> None:
        """See whether the part of the body that came before anybody asked for it is one."""
        if ahead.cancelled() or ahead.exception():
            return
        if ahead.result()["type"] == "http.disconnect":
            self._cancel(ahead)
        elif _is_last(ahead.result()):
            self._until_left().add_done_callback(self._cancel)
        else:
            self._watch()

    def _until_left(self) -> asyncio.Task[Message]:
        if self._left is None:
            self._left = self._loop.create_task(_awaited(self._receive))
        return self._left

    def _cancel(self, left: asyncio.Task[Message]) -> None:
        if not left.cancelled() and self._task is not None:
            self.gone = True
            self._task.cancel()


def _is_last(message: Message) -> bool:
    return not message.get("more_body", False)


async def _awaited(receive: Receive) -> Message:
    return await receive()
