"""Server-sent events (WHATWG HTML, 9.2), as fastapi.sse sends them."""

from collections.abc import AsyncIterable, AsyncIterator

from fastapi.sse import ServerSentEvent

from ..errors import ServiceError
from ..faults.problem import problem
from ..validation import written

PROBLEM = "problem"  # the name of the event that an error in the midst becomes


async def events(items: AsyncIterable[tuple[object | None, str]]) -> AsyncIterator[ServerSentEvent]:
    """Yield an event for each dataclass and its id; None makes one that has only the id."""
    try:
        async for content, token in items:
            data = None if content is None else written(content).decode()
            yield ServerSentEvent(id=token, raw_data=data)
    except ServiceError as error:
        yield ServerSentEvent(event=PROBLEM, raw_data=bytes(problem(error).body).decode())
