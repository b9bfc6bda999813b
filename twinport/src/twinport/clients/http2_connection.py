"""An HTTP/2 connection on which a call that is given up ends over there too, and no other does.

httpcore 1.0 does not say so (encode/httpcore#943, #1022): the other side works on, what it sends
uses up the window of the connection, and after a hundred such calls it is out of streams. Calls
that hang keep others from reading their answers, and one that is cancelled may break them all.
"""

import asyncio
from contextlib import suppress
from time import monotonic

import httpcore
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RemoteSettingsChanged
from h2.exceptions import ProtocolError
from httpcore._synchronization import AsyncSemaphore
from hyperframe.frame import Frame, GoAwayFrame

MOST_STREAMS = 100  # that httpcore has on one connection
WHOLE_CONNECTION = 0  # its stream ID
# What may come of one answer before it is read, and of all: streams that nobody reads, as many as
# there may be, leave room for others. httpcore has 16 MiB for either.
STREAM_ROOM, CONNECTION_ROOM = 2**18, 2**25
NOBODY = httpcore.Request("PRI", "http://nobody")  # for whom both tasks read and write
SILENT_S = 1.0  # a connection that says nothing for so long, though asked, gets no new calls


class _Frames(H2Connection):
    """Goes on after a GOAWAY in peace, as calls that were taken are answered (RFC 9113, 6.8)."""

    last_stream_id: int | None = None  # that is answered

    def increment_flow_control_window(self, increment: int, stream_id: int | None = None) -> None:
        """Make room for what comes, of one stream or of all: ours, whatever httpcore asks for."""
        room = CONNECTION_ROOM if stream_id is None else STREAM_ROOM
        super().increment_flow_control_window(room, stream_id)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        if frame.error_code != ErrorCodes.NO_ERROR:
            return super()._receive_goaway_frame(frame)
        self.last_stream_id = frame.last_stream_id
        return [], []


class Http2Connection(httpcore.AsyncHTTP2Connection):
    """One task reads for all calls, and one writes, so that none waits for or ends with another."""

    def __init__(
        self, origin: httpcore.Origin, stream: httpcore.AsyncNetworkStream, expiry_s: float | None
    ) -> None:
        super().__init__(origin, stream, expiry_s)
        self._h2_state = self._frames = _Frames(config=self.CONFIG)
        self._news: dict[int, asyncio.Event] = {}
        self._asked_at: dict[int, float] = {}
        self._heard_at = monotonic()
        self._has_ended = False
        self._reading: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Do what httpcore leaves half done if the first call is cancelled."""
        self._max_streams = 1  # until the other side says how many
        self._max_streams_semaphore = AsyncSemaphore(MOST_STREAMS)
        for _ in range(MOST_STREAMS - self._max_streams):
            await self._max_streams_semaphore.acquire()
        await self._send_connection_init(NOBODY)
        self._sent_connection_init = True
        self._reading = asyncio.create_task(self._read())

    async def _receive_events(
        self, request: httpcore.Request, stream_id: int | None = None
    ) -> None:
        """Wait for news of a stream, or of the room to send; raises what has ended it all."""
        if self._is_refused(stream_id or WHOLE_CONNECTION):
            raise httpcore.ConnectionNotAvailable  # so it is sent again, on another
        if self._has_ended:
            await super()._receive_events(request, stream_id)
        news = self._news.setdefault(stream_id or WHOLE_CONNECTION, asyncio.Event())
        news.clear()
        await news.wait()

    async def _read(self) -> None:
        try:
            while self._connection_terminated is None:
                await super()._receive_events(NOBODY)
                self._heard_at = monotonic()
                self._wake()
        except (httpcore.NetworkError, httpcore.ProtocolError, ProtocolError) as error:
            self._read_exception = httpcore.RemoteProtocolError(str(error))
        finally:
            self._has_ended = True
            self._wake()

    def _wake(self) -> None:
        for stream_id, news in self._news.items():
            is_for_all = self._has_ended or stream_id == WHOLE_CONNECTION
            if is_for_all or self._events.get(stream_id) or self._is_refused(stream_id):
                news.set()

    def _is_refused(self, stream_id: int) -> bool:
        last = self._frames.last_stream_id
        return last is not None and stream_id > last

    def is_available(self) -> bool:
        """Tell whether further calls may be sent."""
        return self._frames.last_stream_id is None and super().is_available()

    async def _receive_remote_settings_change(self, event: RemoteSettingsChanged) -> None:
        """Follow what the other side allows; who reads cannot wait until streams have ended."""
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.create_task(self._settle())

    async def _settle(self) -> None:
        allowed = min(self._frames.remote_settings.max_concurrent_streams, MOST_STREAMS)
        while self._max_streams < allowed:
            await self._max_streams_semaphore.release()
            self._max_streams += 1
        while self._max_streams > allowed:
            await self._max_streams_semaphore.acquire()
            self._max_streams -= 1

    async def _send_request_headers(self, request: httpcore.Request, stream_id: int) -> None:
        self._asked_at[stream_id] = monotonic()
        await super()._send_request_headers(request, stream_id)

    async def _write_outgoing_data(self, request: httpcore.Request) -> None:
        """Have it written: a call that is cancelled while it writes would break the connection."""
        if self._write_exception is not None:
            raise self._write_exception
        self._send()

    def _send(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while frames := self._h2_state.data_to_send():
                await self._network_stream.write(frames)
        except httpcore.NetworkError as error:
            self._write_exception, self._connection_error = error, True
        finally:
            self._writing = None

    async def _response_closed(self, stream_id: int) -> None:
        """End what has not ended, and hand back the room that the unread rest of it takes."""
        asked_at = self._asked_at.pop(stream_id)
        self._news.pop(stream_id, None)
        for part in [event for event in self._events[stream_id] if isinstance(event, DataReceived)]:
            self._h2_state.acknowledge_received_data(part.flow_controlled_length, stream_id)
        stream = self._h2_state.streams.get(stream_id)
        if stream is not None and not stream.closed:
            self._connection_error |= self._heard_at < asked_at < monotonic() - SILENT_S
            with suppress(ProtocolError):  # the whole connection has ended
                self._h2_state.reset_stream(stream_id, ErrorCodes.CANCEL)
            self._send()
        await super()._response_closed(stream_id)
        if self.is_idle() and not self.is_available():
            await self.aclose()

    async def aclose(self) -> None:
        """Close it, and end its tasks."""
        await super().aclose()
        tasks = [task for task in (self._reading, self._writing, self._settling) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
