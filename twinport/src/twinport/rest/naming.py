"""The names of a call over HTTP: who called, and under which ids it is answered."""

from functools import lru_cache

from ..calls.call import Call
from ..calls.edge import REQUEST_ID, TRACE_ID

TRACE_ID_NAME, REQUEST_ID_NAME = TRACE_ID.encode(), REQUEST_ID.encode()


@lru_cache(maxsize=1024)  # most calls come from somebody who has called before
def peer_of(client: tuple[str, int] | None) -> str:
    """Return `host:port` of a client as ASGI has it; empty if there is none."""
    return f"{client[0]}:{client[1]}" if client else ""


def id_headers(call: Call) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return the headers that every answer has."""
    return (
        (TRACE_ID_NAME, call.trace_id.encode()),
        (REQUEST_ID_NAME, call.request_id.encode()),
    )
