"""One HTTP/2 request whose body and answer overlap; httpx2 sends a whole body before it reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import h2.events
from h2.connection import H2Connection

PATIENCE_S = 20.0
MOST_READ = 2**16  # bytes


class Duplex:
    """`send` a part of the body, read `lines` of the answer; `status` is known after the first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self._reader, self._writer = reader, writer
        self._http = H2Connection()

    @classmethod
    @asynccontextmanager
    async def post(cls, port: int, path: str) -> AsyncIterator[Self]:
        """Begin a request to this machine, whose body has no end yet."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        duplex = cls(reader, writer)
        duplex._begin(f"127.0.0.1:{port}", path)
        try:
            yield duplex
        finally:
            writer.close()

    def _begin(self, authority: str, path: str) -> None:
        self._http.initiate_connection()
        head = {":method": "POST", ":scheme": "http", ":authority": authority, ":path": path}
        self._http.send_headers(1, list(head.items()))
        self._flush()

    def send(self, part: bytes, *, end: bool = False) -> None:
        """Send a part of the body, the last one with `end`."""
        self._http.send_data(1, part, end_stream=end)
        self._flush()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield each line of the answer as it comes; raises EOFError if the answer has no end."""
        begun = b""
        async for part in self._parts():
            *ended, begun = (begun + part).split(b"\n")
            for line in ended:
                yield line
        if begun:
            yield begun

    async def _parts(self) -> AsyncIterator[bytes]:
        async for event in self._events():
            if isinstance(event, h2.events.ResponseReceived):
                self.status = int(dict(event.headers)[b":status"])
            if isinstance(event, h2.events.DataReceived):
                yield event.data
            if isinstance(event, h2.events.StreamEnded):
                return

    async def _events(self) -> AsyncIterator[h2.events.Event]:
        while received := await asyncio.wait_for(self._reader.read(MOST_READ), PATIENCE_S):
            for event in self._http.receive_data(received):
                yield event
            self._flush()
        raise EOFError("the answer has no end")

    def _flush(self) -> None:
        self._writer.write(self._http.data_to_send())
