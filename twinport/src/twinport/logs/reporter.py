"""Says what the sinks have lost: at once, and then at most once a minute."""

import threading
from collections.abc import Callable, Sequence

from .background import SinkThread
from .line import Line, now
from .logs import OWN
from .sink import Sink

PAUSE_S = 60.0


class Reporter:
    """A thread that is woken by the alarm of the sinks; one line for each sink with news."""

    def __init__(
        self, sinks: Sequence[Sink], alarm: threading.Event, emit: Callable[[Line], None]
    ) -> None:
        self._sinks, self._alarm, self._emit = sinks, alarm, emit
        self._over = threading.Event()
        SinkThread("reporter", self._run).start()

    def say(self) -> None:
        """Say what is new."""
        self._alarm.clear()
        for sink in self._sinks:
            news = sink.losses.news()
            if news:
                self._emit(now("WARNING", OWN, f"sink {sink.name}: {news}"))

    def close(self) -> None:
        """End the thread."""
        self._over.set()
        self._alarm.set()

    def _run(self) -> None:
        while self._alarm.wait() and not self._over.is_set():
            self.say()
            self._over.wait(PAUSE_S)
