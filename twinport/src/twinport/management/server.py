"""The server of the management port, which answers also when no file descriptor is free."""

import asyncio
import errno
import socket
from typing import Any

from ..lifecycle import accepted
from ..rest.servers.hypercorn import HypercornServer

PAUSE_S = 1.0  # where not even those are free that are kept for this port


class ManagementServer(HypercornServer):
    """Accepts by itself: the loop would close what comes when the last descriptor is taken."""

    async def listen(self, **options: Any) -> "Listening":
        """Accept on the socket of the options."""
        return Listening(self, options["sock"])

    def take(self, client: socket.socket) -> None:
        """Serve `client`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, self.accept, loop=loop)
        self.connections.spawn(self._served(client, protocol))

    async def _served(self, client: socket.socket, protocol: asyncio.BaseProtocol) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: protocol, client)


class Listening:
    """A listening socket of a server, until it is closed."""

    def __init__(self, server: ManagementServer, sock: socket.socket) -> None:
        self._server, self._socket = server, sock
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._loop.remove_reader(self._socket)
        if self._pause is not None:
            self._pause.cancel()
        self._socket.close()

    def _listen(self) -> None:
        self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        try:
            client = accepted(self._socket)
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                self._loop.remove_reader(self._socket)  # which stays readable
                self._pause = self._loop.call_later(PAUSE_S, self._listen)
            return
        client.setblocking(False)
        self._server.take(client)
