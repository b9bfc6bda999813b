"""Limits of calls: how many run at once, the deadline of each, and the timer that ends it."""

import asyncio
import math
import re
from datetime import timedelta
from typing import Annotated, Protocol

from pydantic import Field

from ..errors import FieldViolation, InvalidArgumentError, OverloadedError
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
    """Counts the calls that run, and refuses one too many."""

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
        """Return the method of every call that runs."""
        return sorted(f"{call.method} {call.path}".strip() for call in self.unary | self.streams)


GRPC_TIMEOUT = "grpc-timeout"
TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")  # gRPC over HTTP/2, "Requests", rule Timeout
SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def time_for(header: str | None, longest: float) -> float:
    """Return how long, in seconds, a call is of use; raises InvalidArgumentError.

    `header` is the value of grpc-timeout, `longest` is in seconds.
    """
    if header is None:
        return longest
    match = TIMEOUT.fullmatch(header)
    if match is None:
        wrong = FieldViolation(GRPC_TIMEOUT, "must be up to 8 digits and one of H M S m u n")
        raise InvalidArgumentError("the deadline cannot be read", fields=[wrong])
    return min(longest, int(match[1]) * SECONDS[match[2]])


EARLY_S = 0.002  # uvloop counts in milliseconds, so its timers may fire a little early
STEP_S = 0.005  # how exact it is once many wait


class Sleeper(Protocol):
    """Who wants to be woken."""

    def wake(self) -> None:
        """Do what is due; may set the alarm again."""


class Alarm:
    """One timer of the running loop for all: wakes each sleeper at its time, if not done before."""

    def __init__(self) -> None:
        self._due: dict[Sleeper, float] = {}
        self._rings_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, sleeper: Sleeper, at: float) -> None:
        """Wake `sleeper` then, and at no other time; infinity is never."""
        self._due[sleeper] = at
        if at < self._rings_at:
            self._ring_at(at)

    def unset(self, sleeper: Sleeper) -> None:
        """Let `sleeper` go without having been woken."""
        self._due.pop(sleeper, None)

    def _ring_at(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        self._rings_at, self._timer = math.inf, None
        for sleeper in [each for each, at in self._due.items() if at <= now + EARLY_S]:
            self._due[sleeper] = math.inf
            sleeper.wake()
        first = min(self._due.values(), default=math.inf)
        if first < self._rings_at:
            self._ring_at(max(first, now + STEP_S))
