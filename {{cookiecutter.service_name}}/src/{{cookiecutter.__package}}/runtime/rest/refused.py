"""What a server refuses before it is a call has ids too, and a line in the log that has them."""

import logging
from random import getrandbits

from ..calls.call import Call, current
from ..calls.edge import REQUEST_ID, TRACE_ID

TRACE_ID_NAME, REQUEST_ID_NAME = TRACE_ID.encode(), REQUEST_ID.encode()

log = logging.getLogger(__name__)


def refused(status: int, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """Log that `client` is answered `status`, and return the headers that say where to look."""
    ids = f"{getrandbits(192):048x}"
    refusal = Call("http", ids[:32], ids[32:])
    token = current.set(refusal)  # for the log
    log.info("refused with %d before it was a call, from %s", status, _text(client))
    current.reset(token)
    name = refusal.trace_id.encode()
    return [(TRACE_ID_NAME, name), (REQUEST_ID_NAME, name)]


def _text(client: tuple[str, int] | None) -> str:
    return f"{client[0]}:{client[1]}" if client else "nobody known"
