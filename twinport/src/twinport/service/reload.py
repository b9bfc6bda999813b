"""SIGHUP: what can change while the service runs, changes; what cannot is named."""

import asyncio
import signal
from typing import Generic, TypeVar

from loguru import logger

from ..errors import SettingsError
from ..lifecycle import Signals, call_in
from ..logs import Logs
from ..settings import changed
from ..traces import Tracing
from .settings import Settings

OwnSettings = TypeVar("OwnSettings", bound=Settings)

LIVE = ("logs.level", "logs.levels.", "traces.sample_ratio")


class Reload(Generic[OwnSettings]):
    """Reads the settings again at each SIGHUP; keeps the old ones if the new ones are wrong."""

    def __init__(self, settings: OwnSettings, logs: Logs, spans: Tracing) -> None:
        self._started, self._last = settings, settings
        self._logs, self._spans = logs, spans

    def on_signal(self, signals: Signals) -> None:
        """Follow SIGHUP from now on."""
        loop = asyncio.get_running_loop()
        signals.on(signal.SIGHUP, lambda: call_in(loop, self._read_again))

    def _read_again(self) -> None:
        try:
            new = self._started.reload()
        except SettingsError as error:
            logger.error("SIGHUP: settings kept: {}", "; ".join(error.mistakes))
            return
        applied = [key for key in changed(self._last, new) if key.startswith(LIVE)]
        later = [key for key in changed(self._started, new) if not key.startswith(LIVE)]
        self._apply(new)
        logger.info("SIGHUP: applied: {}", ", ".join(applied) or "nothing")
        if later:
            logger.warning("SIGHUP: needs a restart: {}", ", ".join(later))

    def _apply(self, new: OwnSettings) -> None:
        self._last = new
        self._logs.follow(new.logs)
        self._spans.set_sample_ratio(new.traces.sample_ratio)
