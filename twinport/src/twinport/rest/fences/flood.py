"""Counts HTTP/2 frames that bring nothing forward (CVE-2019-9512 to 9518, CVE-2023-44487)."""

from collections.abc import Sequence

from h2 import events

BURST = 400.0  # tokens of a new connection, and the most that it can have
TOKENS_PER_S = 50.0
BYTES_PER_TOKEN = 4096  # what is sent earns the WINDOW_UPDATEs of its reader
TINY_BYTES = 16

FREE = 0.0
COSTS: dict[type[events.Event], float] = {
    events.RequestReceived: -1.0,  # pays for the PRIORITY and WINDOW_UPDATE that come along
    events.StreamEnded: FREE,
    events.TrailersReceived: FREE,
    events.DataReceived: FREE,  # unless it is empty or tiny
    events.WindowUpdated: 0.2,
    events.StreamReset: 2.0,  # with its request, if that came along, still one
}
OTHER = 1.0  # PING, SETTINGS, PRIORITY, GOAWAY, their acknowledgements, unknown frames


class Flood:
    """A bucket of tokens; who has emptied it floods."""

    __slots__ = ("_sent", "_since", "_tokens")

    def __init__(self, now: float) -> None:
        self._tokens, self._since, self._sent = BURST, now, 0

    def spent(self, cost: float, now: float, sent: int) -> bool:
        """Take `cost`, after adding what time and `sent` bytes have earned."""
        earned = (now - self._since) * TOKENS_PER_S + (sent - self._sent) / BYTES_PER_TOKEN
        self._tokens = min(BURST, self._tokens + earned - cost)
        self._since, self._sent = now, sent
        return self._tokens < 0


def cost(frames: Sequence[events.Event]) -> float:
    """Return what `frames` cost; work that they bring along is set off against it."""
    return sum(COSTS.get(type(frame), OTHER) + _emptiness(frame) for frame in frames)


def _emptiness(frame: events.Event) -> float:
    if type(frame) is not events.DataReceived or frame.stream_ended is not None:
        return FREE
    size = len(frame.data)
    return FREE if size >= TINY_BYTES else 0.1 if size else 1.0
