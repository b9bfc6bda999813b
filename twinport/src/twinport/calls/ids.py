"""The ids of calls: random, in lower-case hex, as W3C Trace Context has them."""

from collections.abc import Iterator
from random import getrandbits

TRACE_DIGITS, DIGITS = 32, 48  # of a trace id, and together with a span id
CALLS_AT_ONCE = 64


def new_ids() -> Iterator[tuple[str, str]]:
    """Yield a trace and a span id for each call; to draw many at once is cheaper."""
    bits = CALLS_AT_ONCE * DIGITS * 4
    while True:
        drawn = getrandbits(bits).to_bytes(bits // 8).hex()
        for at in range(0, len(drawn), DIGITS):
            yield drawn[at : at + TRACE_DIGITS], drawn[at + TRACE_DIGITS : at + DIGITS]
