"""HTTP/2 with bounds, and the count of useless frames (CVE-2019-9512 to 9518, CVE-2023-44487)."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Updated
from hypercorn.protocol.events import Body, EndBody, Event, Request, StreamClosed
from hypercorn.utils import filter_pseudo_headers

from ...settings import HttpLimits
from .http2_frames import goaway
from .http2_sending import Sending
from .sending import LINGER_S, Line
from .stream import FencedStream

BURST = 400.0  # tokens of a new connection, and the most that it can have
TOKENS_PER_S = 50.0
BYTES_PER_TOKEN = 4096  # what is sent earns the WINDOW_UPDATEs of its reader
TINY_BYTES = 16

FREE = 0.0
COSTS: dict[type[events.Event], float] = {
    events.RequestReceived: -1.0,  # pays for the PRIORITY and WINDOW_UPDATE that come along
    events.StreamEnded: FREE,
    events.TrailersReceived: FREE,
    events.DataReceived: FREE,  # unless it is empty or tiny
    events.WindowUpdated: 0.2,
    events.StreamReset: 2.0,  # with its request, if that came along, still one
}
OTHER = 1.0  # PING, SETTINGS, PRIORITY, GOAWAY, their acknowledgements, unknown frames


class Flood:
    """A bucket of tokens; who has emptied it floods."""

    __slots__ = ("_sent", "_since", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens, self._since, self._sent = BURST, now, 0

    def spent(self, cost: float, now: float, sent: int) -> bool:
        """Take `cost`, after adding what time and `sent` bytes have earned."""
        earned = (now - self._since) * TOKENS_PER_S + (sent - self._sent) / BYTES_PER_TOKEN
        self._tokens = min(BURST, self._tokens + earned - cost)
        self._since, self._sent = now, sent
        return self._tokens < 0


def cost(frames: Sequence[events.Event]) -> float:
    """Return what `frames` cost; work that they bring along is set off against it."""
    return sum(COSTS.get(type(frame), OTHER) + _emptiness(frame) for frame in frames)


def _emptiness(frame: events.Event) -> float:
    if type(frame) is not events.DataReceived or frame.stream_ended is not None:
        return FREE
    size = len(frame.data)
    return FREE if size >= TINY_BYTES else 0.1 if size else 1.0


BUSY, IDLE = Updated(idle=False), Updated(idle=True)
GOODBYE_S = 0.2  # for what a client has sent before our GOAWAY reached it

log = logging.getLogger("hypercorn.error")


class FencedH2(Sending):
    """HTTP/2 in which a late body, a flood or a stalled stream harms nobody else."""

    def __init__(self, *parts: Any, line: Line, limits: HttpLimits) -> None:
        super().__init__(*parts, line=line, limits=limits)
        self._most_streams = limits.streams
        self._flood = Flood(self._loop.time())
        self._retired = self._client_leaves = False
        self._early: set[int] = set()  # answered, while the client still sends

    @property
    def patience_s(self) -> float:
        """How long the client may still send what nobody wants any more."""
        sends_on = self._early or self._client_leaves or self.connection.broken
        return LINGER_S if sends_on else GOODBYE_S

    def retire(self) -> bool:
        """Refuse further requests; return whether some are under way.

        GOAWAY waits for their end: a client built on the h2 library, as httpx2 is, would drop them.
        """
        self._retired = True
        if not self.streams:
            self._say_goodbye(ErrorCodes.NO_ERROR)
        return bool(self.streams)

    def announce(self) -> None:
        """Refuse further requests and say so, whatever clients make of it."""
        self._retired = True
        self._say_goodbye(ErrorCodes.NO_ERROR)

    def check(self, now: float) -> None:
        """Break off answers that their reader does not take."""
        for stream_id in self.stream_buffers:
            outbox = self._outbox(stream_id)
            if outbox is not None and outbox.stalled(now):
                self.task_group.spawn(self._break_off, stream_id)

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer, or end its stream."""
        if isinstance(event, StreamClosed):
            await self._end_stream(event.stream_id)
        else:
            await super().stream_send(event)

    async def _handle_events(self, received: list[events.Event]) -> None:
        price = cost(received)
        if price > 0 and self._flood.spent(price, self._loop.time(), self._line.sent):
            log.warning("HTTP/2 flood from %s: connection closed", self.client)
            self._say_goodbye(ErrorCodes.ENHANCE_YOUR_CALM)
            await self.send(Closed())
            return
        for event in received:
            await self._handle_event(event)
        await self._flush()

    async def _handle_event(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            await self._create_stream(event)
        elif isinstance(event, events.DataReceived):
            await self._take_body(event)
        elif isinstance(event, events.StreamEnded):
            await self._take_end(event.stream_id)
        elif isinstance(event, events.ConnectionTerminated):
            await self._see_off()
        else:
            await super()._handle_events([event])
        if isinstance(event, events.StreamReset):
            await self._note_end()

    async def _create_stream(self, request: events.RequestReceived) -> None:
        stream_id = request.stream_id
        if self._retired or len(self.streams) >= self._most_streams:
            self.connection.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        method, path = _request_line(request.headers)
        stream = self.streams[stream_id] = FencedStream(self, stream_id, self._give_window)
        await stream.handle(
            Request(
                stream_id=stream_id,
                headers=filter_pseudo_headers(request.headers),
                http_version="2",
                method=method,
                raw_path=path,
                state=self.connection_state,
            )
        )
        await self.send(BUSY)

    async def _take_body(self, data: events.DataReceived) -> None:
        stream, unused = self.streams.get(data.stream_id), data.flow_controlled_length
        if stream is not None and not stream.closed:
            unused -= len(data.data)  # the padding; the rest is given back when it is read
            await stream.handle(Body(stream_id=data.stream_id, data=data.data))
        if unused:
            self.connection.acknowledge_received_data(unused, data.stream_id)

    async def _take_end(self, stream_id: int) -> None:
        self._early.discard(stream_id)
        stream = self.streams.get(stream_id)
        if stream is not None:
            await stream.handle(EndBody(stream_id=stream_id))

    async def _see_off(self) -> None:
        """Answer what the client has asked for before its GOAWAY, then close."""
        self._retired = self._client_leaves = True
        if self.connection.broken or not self.streams:
            await self.send(Closed())

    async def _give_window(self, stream_id: int, size: int) -> None:
        if not self.closed:
            self.connection.acknowledge_received_data(size, stream_id)
            await self._flush()

    async def _priority_updated(self, event: events.PriorityUpdated) -> None:
        """Ignore it (RFC 9113, 5.3.2); in hypercorn a thousand of them end the connection."""

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        await self._drop_outbox(stream_id)

    async def _end_stream(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if not isinstance(stream, FencedStream):
            return
        await self._close_stream(stream_id)
        if not stream.answered:
            self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)
        elif not stream.body_ended:  # RFC 9113, 8.1; at once, some clients lose the answer
            self._early.add(stream_id)
            self._loop.call_later(LINGER_S, self._end_upload, stream_id)
        await self._note_end()

    async def _break_off(self, stream_id: int) -> None:
        self._reset(stream_id, ErrorCodes.CANCEL)
        await self._close_stream(stream_id)
        await self._note_end()

    async def _note_end(self) -> None:
        if self.streams:
            await self.send(BUSY)
        else:
            await self.send(Closed() if self._client_leaves else IDLE)

    def _end_upload(self, stream_id: int) -> None:
        if stream_id in self._early:  # else it has ended meanwhile
            self._reset(stream_id, ErrorCodes.NO_ERROR)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        self._early.discard(stream_id)
        with suppress(ProtocolError):  # the stream has ended meanwhile
            self.connection.reset_stream(stream_id, code)
        self._push()

    def _say_goodbye(self, code: ErrorCodes) -> None:
        self._push()
        self._line.push(goaway(self.connection.highest_inbound_stream_id, code))


def _request_line(headers: list[tuple[bytes, bytes]]) -> tuple[str, bytes]:
    """Return method and path; CONNECT has no path (RFC 9113, 8.5)."""
    fields = dict(headers[:5])  # pseudo header fields come first
    return fields[b":method"].decode("latin-1").upper(), fields.get(b":path", b"")
