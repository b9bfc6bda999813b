"""A database server behind a proxy that falls silent, with all connections open."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy import URL


class Proxy:
    """Passes on what both sides say, until it is silent."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._is_silent = False
        self._writers: list[StreamWriter] = []
        self.asked = asyncio.Event()  # in vain
        self.gone = asyncio.Event()  # a client

    def be_silent(self) -> None:
        self._is_silent = True

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def meet(self, reader: StreamReader, writer: StreamWriter) -> None:
        behind, server = await asyncio.open_connection(self._server.host, self._server.port or 5432)
        self._writers += [writer, server]
        answering = asyncio.create_task(self._pass_on(behind, writer))
        await self._pass_on(reader, server)
        self.gone.set()
        await answering

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(ConnectionError):  # after it has hung up
            while data := await reader.read(65536):
                self._tell(data, writer)
        writer.close()

    def _tell(self, data: bytes, writer: StreamWriter) -> None:
        if self._is_silent:
            self.asked.set()
        else:
            writer.write(data)


@asynccontextmanager
async def silent_proxy(server: URL) -> AsyncIterator[tuple[URL, Proxy]]:
    """Yield the URL by which the server is reached, and what can silence it."""
    proxy = Proxy(server)
    listening = await asyncio.start_server(proxy.meet, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield server.set(host="127.0.0.1", port=port), proxy
    finally:
        proxy.hang_up()
        listening.close()
