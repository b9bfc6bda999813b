"""Servers that are started one after the other and stopped together."""

import asyncio

from loguru import logger

from .server import Server
from .stop import Stop


class Servers:
    """Watches what it started; a server that ends by itself ends the service in order."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._started: list[Server] = []
        self._watches: dict[asyncio.Task[None], str] = {}

    async def start(self, *servers: Server) -> None:
        """Let `servers` accept calls; raises StartupError."""
        for server in servers:
            await server.start()
            self._started.append(server)
            watch = asyncio.create_task(server.wait())
            self._watches[watch] = server.name
            watch.add_done_callback(self._ended)

    async def close(self, grace: float) -> None:
        """Stop all at once; what still runs after `grace` seconds, or in a hurry, is cut."""
        for watch in self._watches:
            watch.remove_done_callback(self._ended)
        stopping = asyncio.ensure_future(self._each_stopped(grace))
        hurry = asyncio.ensure_future(self._stop.hurry.wait())
        await asyncio.wait((stopping, hurry), return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            await self._each_stopped(0)
        hurry.cancel()
        await stopping
        await asyncio.gather(*self._watches, return_exceptions=True)

    async def _each_stopped(self, grace: float) -> None:
        stops = (server.stop(grace) for server in self._started)
        for error in await asyncio.gather(*stops, return_exceptions=True):
            if error is not None:
                logger.opt(exception=error).error("a server did not stop in order")

    def _ended(self, watch: asyncio.Task[None]) -> None:
        name, error = self._watches[watch], None if watch.cancelled() else watch.exception()
        if error is not None:
            logger.opt(exception=error).error("the {} server died", name)
        cause = f"died: {type(error).__name__}" if error else "ended by itself"
        self._stop.fail(f"the {name} server {cause}")
