"""What one HTTP/2 stream has still to send."""

from hypercorn.protocol.h2 import BUFFER_LOW_WATER, StreamBuffer
from hypercorn.typing import Event

from ..progress import Progress


class Outbox(StreamBuffer):
    """A buffer whose writer waits while it is full, also in front of a closed window.

    hypercorn's own lets the writer go on after every short read, so that a window of zero bytes
    buffers the whole answer.
    """

    def __init__(self, event_class: type[Event], progress: Progress) -> None:
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
