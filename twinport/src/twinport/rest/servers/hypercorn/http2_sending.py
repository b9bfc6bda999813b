"""The answers of one HTTP/2 connection on their way out, by flow control and priority."""

import asyncio
from typing import Any, cast

from h2.exceptions import ProtocolError
from hypercorn import typing
from hypercorn.events import Closed
from hypercorn.protocol.events import Body, EndBody, Event, Response
from hypercorn.protocol.h2 import (
    BUFFER_HIGH_WATER,
    BUFFER_LOW_WATER,
    BufferCompleteError,
    H2Protocol,
    StreamBuffer,
)

from ...settings import HttpLimits
from ..connections import Progress
from .http2_frames import Frames
from .sending import Line


class Outbox(StreamBuffer):
    """A buffer whose writer waits while it is full, also in front of a closed window.

    hypercorn's own lets the writer go on after every short read, so that a window of zero bytes
    buffers the whole answer.
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


COLLECT_BYTES = 16 * 1024  # that wait for the end of a turn of the loop, to leave in one write


class Sending(H2Protocol):
    """Sends what fits at once, in one write; only what does not fit gets a buffer and a place.

    hypercorn takes every answer through the priority tree and its sending task, in three writes.
    """

    connection: Frames

    def __init__(self, *parts: Any, line: Line, limits: HttpLimits) -> None:
        super().__init__(*parts)
        self.connection = Frames(limits)
        self._line = line
        self._send_s = limits.send_time.total_seconds()
        self._loop = asyncio.get_running_loop()
        self._collected = 0
        self._turn_end: asyncio.Handle | None = None

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer; a client that has left is not an error."""
        try:
            if isinstance(event, Response):
                self._send_head(event)
            elif isinstance(event, Body):
                await self._send_body(event.stream_id, event.data)
            elif isinstance(event, EndBody):
                await self._send_end(event.stream_id)
            else:
                await super().stream_send(event)
        except (BufferCompleteError, ProtocolError, KeyError):
            return

    def _send_head(self, event: Response) -> None:
        status = (b":status", b"%d" % event.status_code)
        rest = self.config.response_headers("h2")
        self.connection.send_headers(event.stream_id, [status, *event.headers, *rest])
        self._collect(0)

    async def _send_body(self, stream_id: int, data: bytes) -> None:
        outbox = self._outbox(stream_id)
        if outbox is None and len(data) <= self._room(stream_id):
            self.connection.send_data(stream_id, data)
            self._collect(len(data))
            if self._collected >= COLLECT_BYTES:
                await self._flush()
            return
        outbox = outbox or self._open_outbox(stream_id)
        for start in range(0, len(data), BUFFER_HIGH_WATER):
            await self._offer(stream_id)
            await outbox.push(data[start : start + BUFFER_HIGH_WATER])

    async def _send_end(self, stream_id: int) -> None:
        outbox = self._outbox(stream_id)
        if outbox is None or not outbox.buffer:
            self.connection.end_stream(stream_id)
            await self._flush()
            return
        outbox.set_complete()  # the end goes out with the last data
        await self._offer(stream_id)
        await outbox.drain()

    async def _offer(self, stream_id: int) -> None:
        """Tell the sending task that there is something to send."""
        self.priority.unblock(stream_id)
        await self.has_data.set()

    def _outbox(self, stream_id: int) -> Outbox | None:
        return cast(Outbox | None, self.stream_buffers.get(stream_id))

    def _room(self, stream_id: int) -> int:
        window = self.connection.local_flow_control_window(stream_id)
        return min(window, self.connection.max_outbound_frame_size)

    def _open_outbox(self, stream_id: int) -> Outbox:
        outbox = Outbox(self.context.event_class, Progress(self._send_s))
        self.stream_buffers[stream_id] = outbox
        self.priority.insert_stream(stream_id)
        return outbox

    async def _drop_outbox(self, stream_id: int) -> None:
        """Wake whoever waits for room; hypercorn leaves them waiting for ever."""
        outbox = self.stream_buffers.pop(stream_id, None)
        if outbox is not None:
            self.priority.remove_stream(stream_id)
            await outbox.close()

    async def _send_data(self, stream_id: int) -> None:
        try:
            outbox = self.stream_buffers[stream_id]
            data = await outbox.pop(max(0, self._room(stream_id)))
            if data:
                self.connection.send_data(stream_id, data, end_stream=outbox.complete)
                await self._flush()
            else:
                self.priority.block(stream_id)
        except (ProtocolError, KeyError):
            await self._drop_outbox(stream_id)

    def _collect(self, size: int) -> None:
        self._collected += size
        if self._turn_end is None:
            self._turn_end = self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._turn_end, self._collected = None, 0
        self._push()

    def _push(self) -> None:
        data = self.connection.data_to_send()
        if data:
            self._line.push(data)

    async def _flush(self) -> None:
        self._collected = 0
        data = self.connection.data_to_send()
        if data:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        try:
            await self._line.write(data)
        except ConnectionError:
            await self.handle(Closed())
