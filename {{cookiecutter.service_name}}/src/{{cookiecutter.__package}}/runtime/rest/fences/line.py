"""The sending side of one connection."""

import asyncio
from contextlib import suppress

from ..progress import Progress

LINGER_S = 1.0  # for a client to read its answer before the connection is cut (RFC 9112, 9.6)


class Line:
    """Writes to a client, counts what it takes, and closes without losing the last answer."""

    def __init__(self, writer: asyncio.StreamWriter, progress: Progress) -> None:
        self._writer, self._progress = writer, progress
        self._transport = writer.transport
        self._written = 0
        self._later: asyncio.TimerHandle | None = None

    @property
    def sent(self) -> int:
        """Bytes that have left."""
        return self._written - self._transport.get_write_buffer_size()

    def push(self, data: bytes) -> None:
        """Write `data`, which is small or has been waited for."""
        if self._later is None and not self._transport.is_closing():
            self._writer.write(data)
            self._written += len(data)

    async def write(self, data: bytes) -> None:
        """Write `data` and wait while much of it is still here; raises ConnectionError."""
        self.push(data)
        await self._writer.drain()

    def stalled(self, now: float) -> bool:
        """Return whether the client has taken next to nothing for too long."""
        waiting = self._transport.get_write_buffer_size() > 0
        return self._progress.stalled(now, self.sent, waiting=waiting)

    def close(self) -> None:
        """Close as soon as the client has taken what is still here."""
        self._transport.close()

    def half_close(self) -> None:
        """Send no more, but let the client finish.

        Closed at once, the port resets whoever still sends, who then loses the last answer unread.
        """
        if self._later is None:
            loop = asyncio.get_running_loop()
            self._later = loop.call_later(LINGER_S, self._transport.close)
        if self._transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self._transport.write_eof()

    def abort(self) -> None:
        """Drop the connection, and what is still here."""
        if self._later is not None:
            self._later.cancel()
        self._transport.abort()
