"""How many calls run at once, on both transports together; one too many is refused at once."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from ..errors import OverloadedError
from ..settings import Duration, Section
from .call import Call


class CallSettings(Section):
    """Bounds of a call, the same on both transports."""

    max_concurrent: Annotated[int, Field(ge=1)] = 1000
    """Unary calls that may run at once; one more is refused with RESOURCE_EXHAUSTED or 503."""

    max_streams: Annotated[int, Field(ge=1)] = 1000
    """Streams that may be open at once; one more is refused in the same way."""

    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=30)
    """Longest time until a unary call is answered; a caller's own deadline may be shorter."""


class Gate:
    """Counts what runs, and says no."""

    def __init__(self, settings: CallSettings) -> None:
        self._settings = settings
        self.unary: set[Call] = set()
        self.streams: set[Call] = set()

    def admit(self, call: Call) -> None:
        """Let in a unary call, or one that may turn out to be; raises OverloadedError."""
        if len(self.unary) >= self._settings.max_concurrent:
            raise OverloadedError("too many calls at once, try again")
        self.unary.add(call)

    def admit_stream(self, call: Call) -> None:
        """Let in a stream, or turn a call into one; raises OverloadedError."""
        if len(self.streams) >= self._settings.max_streams:
            raise OverloadedError("too many open streams, try again")
        self.unary.discard(call)
        self.streams.add(call)

    def leave(self, call: Call) -> None:
        """Forget a call that has ended, admitted or not."""
        self.unary.discard(call)
        self.streams.discard(call)

    def counts(self) -> dict[str, int]:
        """Return how many calls run, by kind."""
        return {"unary": len(self.unary), "stream": len(self.streams)}

    def running(self) -> list[str]:
        """Return the method of every call that runs, for the one who waits for their end."""
        return sorted(f"{call.method} {call.path}".strip() for call in self.unary | self.streams)
