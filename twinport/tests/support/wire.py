"""HTTP clients that send what they are told, byte by byte, frame by frame, and an app to probe."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, Self

import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from twinport.lifecycle import bind
from twinport.rest.settings import HttpLimits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
CHUNK = b"x" * 65536
TIMEOUT_S = 20.0  # what a test waits for comes sooner, or the test has failed


class Probe:
    """An application that does what the path says, and tells what became of it."""

    def __init__(self) -> None:
        self.running = self.cancelled = self.sent_bytes = self.disconnects = 0
        self.begun, self.release = asyncio.Semaphore(0), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        self.running += 1
        self.begun.release()
        try:
            await getattr(self, scope["path"].strip("/") or "echo")(receive, send)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def echo(self, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await self.answer(send, b"%d bytes" % size)

    async def early(self, receive: Any, send: Any) -> None:
        await self.answer(send, b"no", 401)

    async def hold(self, receive: Any, send: Any) -> None:
        await self.release.wait()
        await self.answer(send, b"held")

    async def slow(self, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        await self.answer(send, b"slow")

    async def stubborn(self, receive: Any, send: Any) -> None:
        while not self.release.is_set():
            with suppress(asyncio.CancelledError):
                await self.release.wait()

    async def stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"ended", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def pause(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"ended"})

    async def unfinished(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})

    async def background(self, receive: Any, send: Any) -> None:
        await self.answer(send, b"answered")
        await self.release.wait()

    async def endless(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            self.sent_bytes += len(CHUNK)

    async def large(self, receive: Any, send: Any) -> None:
        await self.answer(send, CHUNK * 4)

    async def listen(self, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnects += 1

    async def has_begun(self, times: int = 1) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            for _ in range(times):
                await self.begun.acquire()

    async def answer(self, send: Any, body: bytes, status: int = 200) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Wire:
    """A TCP connection; reading ends with what the test waits for, or fails it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[Self]:
        wire = cls(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield wire
        finally:
            wire.writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def open_slowly(cls, port: int) -> AsyncIterator[Self]:
        """Connect as over a slow line: most of an answer waits in the kernel of the port."""
        with socket.socket() as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            own.setblocking(False)
            await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
            wire = cls(*await asyncio.open_connection(sock=own, limit=1024))
            try:
                yield wire
            finally:
                wire.writer.transport.abort()

    def send(self, *parts: bytes) -> None:
        if not self.writer.transport.is_closing():
            self.writer.write(b"".join(parts))

    async def drip(self, data: bytes, every_s: float) -> None:
        """Send a byte at a time until the server has enough of it."""
        for byte in data:
            if self.reader.at_eof() or self.writer.is_closing():
                return
            self.send(bytes([byte]))
            await asyncio.sleep(every_s)

    async def all_sent(self) -> None:
        self.writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(TIMEOUT_S):
            await self.writer.drain()

    async def until(self, text: bytes) -> bytes:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readuntil(text)

    async def closed(self) -> bytes:
        """Return everything up to the end of the connection."""
        rest = bytearray()
        async with asyncio.timeout(TIMEOUT_S):
            with suppress(ConnectionError):
                await self._read_into(rest)
        return bytes(rest)

    async def _read_into(self, rest: bytearray) -> None:
        while data := await self.reader.read(65536):
            rest += data


class Answer(NamedTuple):
    status: int | None
    body: bytes
    reset: int | None  # error code of a RST_STREAM


class H2Wire(Wire):
    """An HTTP/2 connection of single frames; it gives no window back unless told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.next_id = 1
        self.goaway: GoAwayFrame | None = None
        self.answers: dict[int, Answer] = {}
        self.ended: set[int] = set()
        self.heads: dict[int, dict[str, str]] = {}

    def begin(self, **settings: int) -> None:
        """Send preface and SETTINGS; names are those of RFC 9113, 6.5.2."""
        frame = SettingsFrame(0)
        frame.settings = {getattr(SettingsFrame, name): value for name, value in settings.items()}
        self.send(PREFACE, frame.serialize())

    def request(
        self, path: str = "/", *, end: bool = True, more: Iterable[tuple[bytes, bytes]] = ()
    ) -> int:
        method = "GET" if end else "POST"
        head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)]
        return self.headers([*head, *more], end=end)

    def headers(self, fields: Iterable[Any], *, end: bool) -> int:
        frame = HeadersFrame(self.next_id, self.encoder.encode(fields))
        frame.flags |= {"END_HEADERS"} | ({"END_STREAM"} if end else set())
        self.next_id += 2
        self.send(frame.serialize())
        return frame.stream_id

    def body(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        frame = DataFrame(stream_id, data)
        frame.flags |= {"END_STREAM"} if end else set()
        self.send(frame.serialize())

    def bodies(self, stream_id: int, data: bytes, times: int) -> None:
        for _ in range(times):
            self.body(stream_id, data)

    def window(self, stream_id: int, size: int) -> None:
        self.send(WindowUpdateFrame(stream_id, size).serialize())

    def reset(self, stream_id: int) -> None:
        self.send(RstStreamFrame(stream_id, 8).serialize())

    async def answer(self, stream_id: int) -> Answer:
        """Read until the stream has ended, one way or the other."""
        async with asyncio.timeout(TIMEOUT_S):
            while stream_id not in self.ended:
                self.note(await self.frame())
        return self.answers[stream_id]

    async def ends(self, count: int) -> None:
        """Read until so many streams have ended, whichever they are."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.ended) < count:
                self.note(await self.frame())

    async def got(self, stream_id: int) -> None:
        """Read the next frame of the stream."""
        got = None
        async with asyncio.timeout(TIMEOUT_S):
            while got != stream_id and stream_id not in self.ended:
                self.note(frame := await self.frame())
                got = frame.stream_id

    async def until_reset(self, stream_id: int) -> int | None:
        async with asyncio.timeout(TIMEOUT_S):
            while self.answers[stream_id].reset is None:
                self.note(await self.frame())
        return self.answers[stream_id].reset

    async def until_goaway(self) -> GoAwayFrame:
        async with asyncio.timeout(TIMEOUT_S):
            while self.goaway is None:
                self.note(await self.frame())
        return self.goaway

    async def frame(self) -> Frame:
        frame, length = Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
        frame.parse_body(memoryview(await self.reader.readexactly(length)))
        return frame

    def note(self, frame: Frame) -> None:
        answer = self.answers.get(frame.stream_id, Answer(None, b"", None))
        if isinstance(frame, HeadersFrame):
            fields = self.heads[frame.stream_id] = dict(self.decoder.decode(frame.data))
            status = fields.get(":status", answer.status)  # trailers have none
            answer = answer._replace(status=int(status or 0))
        elif isinstance(frame, DataFrame):
            answer = answer._replace(body=answer.body + frame.data)
        elif isinstance(frame, RstStreamFrame):
            answer = answer._replace(reset=frame.error_code)
            self.ended.add(frame.stream_id)
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame
        self.answers[frame.stream_id] = answer
        if "END_STREAM" in frame.flags:
            self.ended.add(frame.stream_id)


async def healthy(port: int) -> None:
    """A client of either protocol is served."""
    async with Wire.open(port) as wire:
        wire.send(GET)
        assert (await wire.until(b"\r\n")).split()[1] == b"200"
    async with H2Wire.open(port) as wire:
        wire.begin()
        assert (await wire.answer(wire.request())).status == 200


class Port:
    """A server on a free port, and what ran before anybody came."""

    def __init__(self, server: Any, number: int, probe: Probe) -> None:
        self.server, self.number, self.probe = server, number, probe
        self.before = asyncio.all_tasks()

    async def nothing_is_left(self) -> None:
        """Wait until every task that a client has caused is gone."""
        current = asyncio.current_task()
        left = {task for task in asyncio.all_tasks() - self.before if task is not current}
        if left:
            _, left = await asyncio.wait(left, timeout=TIMEOUT_S)
        assert not left
        assert self.probe.running == 0

    async def stops(self, grace_s: float = 60.0) -> None:
        """Stop the server; it takes little more than a short grace, and nothing of a long one."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.server.stop(grace_s)
            await self.server.wait()


@asynccontextmanager
async def serving(kind: Any, bounded: Any = None, **limits: Any) -> AsyncIterator[Port]:
    """Serve a probe, behind `bounded` if that is given; `limits` are written as in the settings."""
    bound, probe, bounds = listening(), Probe(), HttpLimits.model_validate(limits)
    server = kind("http", bounded(probe, bounds) if bounded else probe, bound, bounds)
    await server.start()
    try:
        yield Port(server, bound.getsockname()[1], probe)
    finally:
        probe.release.set()
        await server.stop(0)


def listening() -> socket.socket:
    return bind("http", "127.0.0.1", 0)
