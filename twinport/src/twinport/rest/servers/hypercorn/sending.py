"""The sending side of one connection, with flow control and a time limit."""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress

from ..connections import Progress

OUTQ = termios.TIOCOUTQ  # the same number as SIOCOUTQ of tcp(7)
LOOK_S = 0.1  # between two looks whether a client that says nothing has taken all
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
        kept = self._in_kernel()
        waiting = self._transport.get_write_buffer_size() > 0 or kept > 0
        return self._progress.stalled(now, self.sent - kept, waiting=waiting)

    def close(self, patience_s: float) -> None:
        """Send no more, and close when the client has, or has taken all and had so much time.

        Closed earlier, the port would reset who still sends, be it a WINDOW_UPDATE; and then what
        was said last is lost.
        """
        if not patience_s and not self._in_kernel():
            self._transport.close()
            return
        if self._later is None:
            self._linger(patience_s or LOOK_S)
        if self._transport.can_write_eof():
            with suppress(OSError, RuntimeError):
                self._transport.write_eof()

    def _linger(self, seconds: float) -> None:
        self._later = asyncio.get_running_loop().call_later(seconds, self._close_if_taken)

    def _close_if_taken(self) -> None:
        if self._in_kernel():
            self._linger(LOOK_S)
        else:
            self._transport.close()

    def _in_kernel(self) -> int:
        """Return how many bytes the client has not confirmed; 0 where the kernel does not tell."""
        try:
            told = fcntl.ioctl(self._transport.get_extra_info("socket"), OUTQ, bytes(4))
        except (OSError, ValueError, TypeError):  # closed, or not Linux
            return 0
        return int(struct.unpack("i", told)[0])

    def abort(self) -> None:
        """Drop the connection, and what is still here."""
        if self._later is not None:
            self._later.cancel()
        self._transport.abort()
