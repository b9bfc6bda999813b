"""How late the event loop is: what blocks it makes every call wait."""

import asyncio

from prometheus_client.metrics_core import GaugeMetricFamily

EVERY_S = 0.5


class LoopLag:
    """Asks to be woken twice a second, and notes how much later that was."""

    def __init__(self) -> None:
        self._worst = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure the running loop from now on."""
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def collect(self) -> GaugeMetricFamily:
        """Return the worst delay since the last time that somebody asked."""
        worst, self._worst = self._worst, 0.0
        text = "Longest delay of the event loop since the last scrape."
        return GaugeMetricFamily("event_loop_lag_seconds", text, value=worst)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + EVERY_S
        self._timer = loop.call_at(due, self._wake, loop, due)

    def _wake(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._worst = max(self._worst, loop.time() - due)
        self._wait(loop)
