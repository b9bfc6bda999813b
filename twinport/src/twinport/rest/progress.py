"""Whether a reader still takes what is sent to it."""

import math

NEVER = math.inf
MIN_BYTES_PER_S = 240  # as Kestrel's MinResponseDataRate: below it, nobody is reading


class Progress:
    """Watches a counter of sent bytes, at every look of a timer instead of at every write."""

    __slots__ = ("_limit_s", "_sent", "_since")

    def __init__(self, limit_s: float) -> None:
        self._limit_s, self._since, self._sent = limit_s, NEVER, 0

    def stalled(self, now: float, sent: int, *, waiting: bool) -> bool:
        """Return whether something waits and less than the least rate has left for `limit_s`.

        `sent` may also be what waits, counted downwards: that it grows again shows that it moved.
        The time begins with the first look at something that waits: that nobody looked for a
        while, as the machine was asleep, is no fault of the reader.
        """
        moved = sent - self._sent
        if not waiting:
            self._since = NEVER
        elif self._since == NEVER or moved < 0 or moved >= MIN_BYTES_PER_S * self._limit_s:
            self._since, self._sent = now, sent
        return now - self._since > self._limit_s
