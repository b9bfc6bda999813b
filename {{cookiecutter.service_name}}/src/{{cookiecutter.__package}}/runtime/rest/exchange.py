"""One HTTP request and its answer: what is read, what is written, and whether anybody listens."""

import asyncio
import math
from collections.abc import Awaitable

from starlette.types import Message, Receive, Send

from ..calls.alarm import EARLY_S
from ..calls.call import Call
from ..calls.edge import REQUEST_ID, TRACE_ID, Edge

WATCH_AFTER_S = 0.05  # a shorter call ends before anybody could notice that its caller has gone
BODILESS = frozenset({204, 304})
TRACE_ID_NAME, REQUEST_ID_NAME = TRACE_ID.encode(), REQUEST_ID.encode()


class Exchange:
    """Stands between server and application, and cancels the task that it is made in.

    That happens when the deadline has passed (`late`), or when the caller hangs up (`gone`). Once
    the answer has been handed on, nobody waits for it: work in the background goes on.
    """

    started = gone = late = False
    _body_read = _reading = _watching = _over = False
    _until = math.inf
    _ahead: asyncio.Task[Message] | None = None
    _left: asyncio.Task[Message] | None = None

    def __init__(self, call: Call, edge: Edge, receive: Receive, send: Send) -> None:
        self.call = call
        self._gate, self._alarm, self._receive, self._send = edge.gate, edge.alarm, receive, send
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(self._loop)

    def open(self, seconds: float) -> None:
        """Begin the call, which has so long; raises OverloadedError."""
        now = self._loop.time()
        self.call.deadline = self._until = now + seconds
        self._alarm.set(self, min(self._until, now + WATCH_AFTER_S))
        self._gate.admit(self.call)

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
            if _is_last(message):
                self._over, self._until = True, math.inf
        return self._send(message)

    def close(self) -> None:
        """Stop watching the caller."""
        self._over = True
        self._alarm.unset(self)
        if self._ahead is not None:
            self._ahead.cancel()
        if self._left is not None:
            self._left.cancel()

    def takes_back_cancelling(self) -> bool:
        """Tell whether nobody but us has cancelled the call, and take that back."""
        ours = self.late or self.gone
        return ours and self._task is not None and self._task.uncancel() == 0

    def wake(self) -> None:
        """End the call if it is late, else see whether its caller is still there."""
        if self._loop.time() >= self._until - EARLY_S:
            self._cancel(late=True)
        elif not (self._watching or self._over):
            self._watch()

    def _start(self, message: Message) -> None:
        call, headers = self.call, message.setdefault("headers", [])
        if self._is_stream(message["status"], headers):
            self._gate.admit_stream(call)
            self._until = math.inf
        self.started = True
        call.status = message["status"]
        message["headers"] = [
            *headers,
            (TRACE_ID_NAME, call.trace_id.encode()),
            (REQUEST_ID_NAME, call.request_id.encode()),
        ]

    def _is_stream(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        if self.call.method == "HEAD" or status in BODILESS:
            return False
        return b"content-length" not in dict(headers)

    def _watch(self) -> None:
        """Cancel the call when its caller hangs up, also where nobody reads the body."""
        again = math.inf
        if self._body_read:
            self._watch_until_left()
        elif self._reading or self._ahead:  # whoever reads hears of it
            again = self._loop.time() + WATCH_AFTER_S
        else:
            self._ahead = self._loop.create_task(_awaited(self._receive))
            self._ahead.add_done_callback(self._look)
        self._alarm.set(self, min(self._until, again))

    def _watch_until_left(self) -> None:
        self._watching = True
        self._until_left().add_done_callback(self._leave)

    def _look(self, ahead: asyncio.Task[Message]) -> None:
        """See whether the part of the body that came before anybody asked for it is one."""
        if ahead.cancelled() or ahead.exception() or self._over:
            return
        if ahead.result()["type"] == "http.disconnect":
            self._leave(ahead)
        elif _is_last(ahead.result()):
            self._watch_until_left()
        else:
            self._watch()

    def _until_left(self) -> asyncio.Task[Message]:
        if self._left is None:
            self._left = self._loop.create_task(_awaited(self._receive))
        return self._left

    def _leave(self, left: asyncio.Task[Message]) -> None:
        if not (left.cancelled() or self._over):
            self._cancel(late=False)

    def _cancel(self, *, late: bool) -> None:
        if self._task is not None and not (self.late or self.gone):
            self.late, self.gone = late, not late
            self._task.cancel()


def _is_last(message: Message) -> bool:
    return not message.get("more_body", False)


async def _awaited(receive: Receive) -> Message:
    return await receive()
