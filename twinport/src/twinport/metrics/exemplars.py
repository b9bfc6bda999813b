"""Exemplars: for each bucket of a histogram the trace of a call that fell into it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from prometheus_client.samples import Exemplar

from ..calls import Call

NANOSECONDS = 10**9
NONE: Mapping[int, Exemplar] = {}


class Exemplars:
    """The latest of each series and bucket; only calls that leave a span are noted."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = sorted(bounds)
        self._latest: dict[tuple[str, ...], dict[int, Exemplar]] = {}

    def note(self, labels: tuple[str, ...], call: Call) -> None:
        """Remember `call` for the bucket of its duration."""
        ended_s = (call.started_unix_ns + call.duration_ns) / NANOSECONDS
        seconds = call.duration_ns / NANOSECONDS
        exemplar = Exemplar({"trace_id": call.trace_id}, seconds, ended_s)
        buckets = self._latest.setdefault(labels, {})
        buckets[bisect_left(self._bounds, call.duration_ns)] = exemplar

    def of(self, labels: tuple[str, ...]) -> Mapping[int, Exemplar]:
        """Return what was noted for a series, by the number of the bucket."""
        return self._latest.get(labels, NONE)
