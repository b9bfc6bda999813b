"""HTTP/2 on one connection: streams, flow control, GOAWAY, and answers that leave in one write."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, cast

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn import typing
from hypercorn.events import Closed, Event as ConnectionEvent, Updated
from hypercorn.protocol.events import Body, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h2 import (
    BUFFER_HIGH_WATER,
    BUFFER_LOW_WATER,
    BufferCompleteError,
    H2Protocol,
    StreamBuffer,
)
from hypercorn.utils import filter_pseudo_headers

from ..connections import LINGER_S, BoundedWriter, Connections, Progress
from .http2_frames import FrameBudget, HardenedH2Connection, cost
from .stream import HardenedStream

BUSY, IDLE = Updated(idle=False), Updated(idle=True)
GOAWAY_LINGER_S = 0.2  # for what a client has sent before our GOAWAY reached it
COLLECT_BYTES = 16 * 1024  # that wait for the end of a turn of the loop, to leave in one write

log = logging.getLogger("hypercorn.error")


class HardenedH2(H2Protocol):
    """HTTP/2 in which a late body, a flood or a stalled stream harms nobody else.

    It sends what fits at once, in one write; only what does not fit gets a buffer and a place.
    hypercorn takes every answer through the priority tree and its sending task, in three writes.
    """

    connection: HardenedH2Connection

    def __init__(self, *parts: Any, connections: Connections, writer: BoundedWriter) -> None:
        super().__init__(*parts)
        self._connections, self._writer = connections, writer
        self.connection = HardenedH2Connection(connections.limits)
        self._loop = asyncio.get_running_loop()
        self._budget = FrameBudget(self._loop.time())
        self._retired = self._client_leaves = False
        self._early: set[int] = set()  # answered, while the client still sends
        self._held: dict[int, list[bytes]] = {}  # parts of answers, for one frame each
        self._collected = 0
        self._turn_end: asyncio.Handle | None = None

    @property
    def patience_s(self) -> float:
        """How long the client may still send what nobody wants any more."""
        sends_on = self._early or self._client_leaves or self.connection.broken
        return LINGER_S if sends_on else GOAWAY_LINGER_S

    def retire(self) -> bool:
        """Refuse further requests; return whether some are under way.

        GOAWAY waits for their end: a client built on the h2 library, as httpx2 is, would drop them.
        """
        self._retired = True
        if not self.streams:
            self._send_goaway(ErrorCodes.NO_ERROR)
        return bool(self.streams)

    def announce(self) -> None:
        """Refuse further requests and say so, whatever clients make of it."""
        self._retired = True
        self._send_goaway(ErrorCodes.NO_ERROR)

    def check(self, now: float) -> None:
        """Break off answers that their reader does not take."""
        for stream_id, buffer in self.stream_buffers.items():
            if cast(SendBuffer, buffer).stalled(now):
                self.task_group.spawn(self._break_off, stream_id)

    # What the client sends.

    def handle(self, event: ConnectionEvent) -> Coroutine[Any, Any, None]:
        """Take what the client has sent, by which its windows may shrink, or that it has left."""
        self._release()
        return super().handle(event)

    async def _handle_events(self, received: list[events.Event]) -> None:
        price = cost(received)
        if price > 0 and self._budget.spent(price, self._loop.time(), self._writer.sent):
            log.warning("HTTP/2 flood from %s: connection closed", self.client)
            self._send_goaway(ErrorCodes.ENHANCE_YOUR_CALM)
            await self._close()
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
            await self._take_goaway()
        else:
            await super()._handle_events([event])
        if isinstance(event, events.StreamReset):
            await self._note_end()

    async def _create_stream(self, request: events.RequestReceived) -> None:
        stream_id = request.stream_id
        if self._retired or len(self.streams) >= self._connections.limits.streams:
            self.connection.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        method, path = _request_line(request.headers)
        stream = HardenedStream(self, stream_id, self._connections, self._give_window)
        self.streams[stream_id] = stream
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

    async def _take_goaway(self) -> None:
        """Answer what the client has asked for before its GOAWAY, then close."""
        self._retired = self._client_leaves = True
        if self.connection.broken or not self.streams:
            await self._close()

    async def _give_window(self, stream_id: int, size: int) -> None:
        if not self.closed:
            self.connection.acknowledge_received_data(size, stream_id)
            await self._flush()

    async def _priority_updated(self, event: events.PriorityUpdated) -> None:
        """Ignore it (RFC 9113, 5.3.2); in hypercorn a thousand of them end the connection."""

    # What a stream sends.

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer, or end its stream; a client that has left is not an error."""
        if isinstance(event, StreamClosed):
            await self._end_stream(event.stream_id)
            return
        try:
            if isinstance(event, Response):
                self._send_head(event)
            elif isinstance(event, Body):
                await self._send_body(event.stream_id, event.data)
            elif isinstance(event, EndBody):
                await self._send_end(event.stream_id)
        except (BufferCompleteError, ProtocolError, KeyError):
            return

    def _send_head(self, event: Response) -> None:
        status = (b":status", b"%d" % event.status_code)
        rest = self.config.response_headers("h2")
        self.connection.send_headers(event.stream_id, [status, *event.headers, *rest])
        self._collect(0)

    async def _send_body(self, stream_id: int, data: bytes) -> None:
        buffer = self._buffer(stream_id)
        if buffer is None and self._collected + len(data) > self._room(stream_id):
            await self._flush()  # all that is held counts for the window
        if buffer is None and len(data) <= self._room(stream_id):
            self._held.setdefault(stream_id, []).append(data)
            self._collect(len(data))
            await self._flush_much()
            return
        buffer = buffer or self._open_buffer(stream_id)
        for start in range(0, len(data), BUFFER_HIGH_WATER):
            await self._offer(stream_id)
            await buffer.push(data[start : start + BUFFER_HIGH_WATER])

    async def _send_end(self, stream_id: int) -> None:
        buffer = self._buffer(stream_id)
        if buffer is None or not buffer.buffer:
            self._send_last(stream_id)
            self._collect(0)
            await self._flush_much()
            return
        buffer.set_complete()  # the end goes out with the last data
        await self._offer(stream_id)
        await buffer.drain()

    def _send_last(self, stream_id: int) -> None:
        parts = self._held.pop(stream_id, None)
        if parts is None:
            self.connection.end_stream(stream_id)
        else:
            self.connection.send_data(stream_id, b"".join(parts), end_stream=True)

    async def _offer(self, stream_id: int) -> None:
        """Tell the sending task that there is something to send."""
        self.priority.unblock(stream_id)
        await self.has_data.set()

    async def _send_data(self, stream_id: int) -> None:
        """Send a part of what is buffered, in the sending task."""
        try:
            buffer = self.stream_buffers[stream_id]
            data = await buffer.pop(max(0, self._room(stream_id)))
            if data:
                self.connection.send_data(stream_id, data, end_stream=buffer.complete)
                await self._flush()
            else:
                self.priority.block(stream_id)
        except (ProtocolError, KeyError):
            await self._drop_buffer(stream_id)

    def _buffer(self, stream_id: int) -> "SendBuffer | None":
        return cast(SendBuffer | None, self.stream_buffers.get(stream_id))

    def _room(self, stream_id: int) -> int:
        window = self.connection.local_flow_control_window(stream_id)
        return min(window, self.connection.max_outbound_frame_size)

    def _open_buffer(self, stream_id: int) -> "SendBuffer":
        send_s = self._connections.limits.send_time.total_seconds()
        buffer = SendBuffer(self.context.event_class, Progress(send_s))
        self.stream_buffers[stream_id] = buffer
        self.priority.insert_stream(stream_id)
        return buffer

    async def _drop_buffer(self, stream_id: int) -> None:
        """Wake whoever waits for room; hypercorn leaves them waiting for ever."""
        buffer = self.stream_buffers.pop(stream_id, None)
        if buffer is not None:
            self.priority.remove_stream(stream_id)
            await buffer.close()

    # How a stream ends.

    async def _close_stream(self, stream_id: int) -> None:
        await super()._close_stream(stream_id)
        await self._drop_buffer(stream_id)

    async def _end_stream(self, stream_id: int) -> None:
        stream = self.streams.get(stream_id)
        if not isinstance(stream, HardenedStream):
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
        if not self.streams and self._client_leaves:
            await self._close()
        else:
            await self.send(BUSY if self.streams else IDLE)

    def _end_upload(self, stream_id: int) -> None:
        if stream_id in self._early:  # else it has ended meanwhile
            self._reset(stream_id, ErrorCodes.NO_ERROR)

    def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        self._early.discard(stream_id)
        self._release()
        with suppress(ProtocolError):  # the stream has ended meanwhile
            self.connection.reset_stream(stream_id, code)
        self._push()

    def _send_goaway(self, code: ErrorCodes) -> None:
        self._push()
        self._writer.push(self.connection.goaway(code))

    # How all of it leaves.

    def _collect(self, size: int) -> None:
        self._collected += size
        if self._turn_end is None:
            self._turn_end = self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._turn_end = None
        self._push()

    def _release(self) -> None:
        """Make a frame of all that is held of an answer."""
        if not self._held:
            return
        held, self._held = self._held, {}
        for stream_id, parts in held.items():
            with suppress(ProtocolError, KeyError):  # the stream has ended meanwhile
                self.connection.send_data(stream_id, b"".join(parts))

    def _push(self) -> None:
        data = self._data_to_send()
        if data:
            self._writer.push(data)

    async def _flush(self) -> None:
        data = self._data_to_send()
        if not data:
            return
        try:
            await self._writer.write(data)
        except ConnectionError:
            await self.handle(Closed())

    def _data_to_send(self) -> bytes:
        self._release()
        self._collected = 0
        return self.connection.data_to_send()

    async def _flush_much(self) -> None:
        """Write at once, and wait, where much is collected or the client is slow to take it."""
        if self._collected >= COLLECT_BYTES or self._writer.backlog:
            await self._flush()

    async def _close(self) -> None:
        self._push()
        await self.send(Closed())


class SendBuffer(StreamBuffer):
    """A flow-controlled buffer of one stream: its writer waits while it is full.

    Also in front of a closed window. hypercorn's own lets the writer go on after every short read,
    so that a window of zero bytes buffers the whole answer.
    """

    def __init__(self, event_class: type[typing.Event], progress: Progress) -> None:
        super().__init__(event_class)
        self._progress, self._sent = progress, 0

    async def pop(self, max_length: int) -> bytes:
        """Hand over what the window allows."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        self._sent += len(data)
        if len(self.buffer) < BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data

    def stalled(self, now: float) -> bool:
        """Return whether the client has left next to nothing of its window for too long."""
        return self._progress.stalled(now, self._sent, waiting=bool(self.buffer))


def _request_line(headers: list[tuple[bytes, bytes]]) -> tuple[str, bytes]:
    """Return method and path; CONNECT has no path (RFC 9113, 8.5)."""
    fields = dict(headers[:5])  # pseudo header fields come first
    return fields[b":method"].decode("latin-1").upper(), fields.get(b":path", b"")
