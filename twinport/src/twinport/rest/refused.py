"""What a server refuses before it is a call has ids too, and a line in the log that has them."""

import logging

from ..calls.call import Call, current
from ..calls.ids import new_ids
from .naming import id_headers, peer_of

log = logging.getLogger(__name__)
ids = new_ids()


def refused(status: int, client: tuple[str, int] | None) -> list[tuple[bytes, bytes]]:
    """Log that `client` is answered `status`, and return the headers that say where to look."""
    refusal = Call("http", *next(ids))
    refusal.request_id = refusal.trace_id
    token = current.set(refusal)  # for the log
    peer = peer_of(client) or "nobody known"
    log.info("refused with %d before it was a call, from %s", status, peer)
    current.reset(token)
    return [*id_headers(refusal)]
