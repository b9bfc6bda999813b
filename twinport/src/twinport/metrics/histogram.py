"""Histograms in plain lists: a tenth of the cost of labels in prometheus_client."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.metrics_core import HistogramMetricFamily

Key = tuple[str, ...]

MANY = 500  # values that wait to be counted: a sorted list is counted at once


class Series:
    """The values of one set of labels: the `latest` as they came, the others as counts."""

    def __init__(self, bounds: Sequence[int]) -> None:
        self.latest: list[int] = []
        self.counts, self.sum = [0] * (len(bounds) + 1), 0
        self._bounds = bounds

    def count(self) -> None:
        """Count the latest in their buckets."""
        values = sorted(self.latest)
        self.latest.clear()
        self.sum += sum(values)
        ends = [bisect_right(values, bound) for bound in self._bounds]
        for bucket, (start, end) in enumerate(zip([0, *ends], [*ends, len(values)], strict=True)):
            self.counts[bucket] += end - start


class Histogram:
    """Counts whole numbers (nanoseconds, bytes) and is read, in base units, at scrape time."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], bounds: Sequence[int], unit: int
    ) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds, self._unit = tuple(sorted(bounds)), unit
        self._series: dict[Key, Series] = {}

    def series(self, key: Key) -> Series:
        """Return what has these labels."""
        return self._series.setdefault(key, Series(self._bounds))

    def collect(self) -> HistogramMetricFamily:
        """Return what was counted, as Prometheus wants it: each bucket holds those below it."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        edges = [*(str(bound / self._unit) for bound in self._bounds), "+Inf"]
        for key, series in self._series.items():
            series.count()
            buckets = zip(edges, accumulate(series.counts), strict=True)
            family.add_metric(key, list(buckets), series.sum / self._unit)
        return family
