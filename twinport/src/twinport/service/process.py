"""The process of a service: event loop, SIGHUP, and from settings to exit status."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Generic, TypeVar

from loguru import logger

from .. import cli
from ..cli import Command
from ..clients.call_command import call_command
from ..clients.grpc_interceptors import bare_clients_traced
from ..compatibility import check_names
from ..errors import DiedError, FatalError, SettingsError, StartupError
from ..lifecycle import (
    LastResort,
    LifecycleSettings,
    Signals,
    Stop,
    allow_many_files,
    call_in,
    hearing,
    open_files_watched,
)
from ..logs import Logs, logging_to
from ..management.health_command import health_command
from ..profiling import blocking_stack, log_stacks_apart, watching
from ..rest.api import RouteWay
from ..settings import changed
from ..startup import end_by_signals
from ..traces import Tracing, tracing
from ..traces.instrumentations import instrumented
from .service import Service
from .settings import Settings

OwnSettings = TypeVar("OwnSettings", bound=Settings)

LIVE = ("logs.level", "logs.levels.", "traces.sample_ratio")

Build = Callable[[Service, OwnSettings], Awaitable[None]]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop; uvloop does not exist for Windows."""
    if find_spec("uvloop") is None:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


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
        self._spans.sampler.set_ratio(new.traces.sample_ratio)


def main(
    model: type[OwnSettings], build: Build[OwnSettings], commands: Sequence[Command] = ()
) -> int:
    """Do what the command line says; return 0, or 1 if it failed, or 2 for settings and usage.

    `model` is the class of all settings; the package that it is in gives the command, the variables
    (ORDER_BOOK__HTTP__PORT) and the distribution their names. `build` wires the service that `run`
    serves, before it takes a call: what it raises ends the start. `commands` are further ones of
    the service's own.
    """
    return cli.main(
        model,
        lambda settings: run(settings, build),
        [call_command(), health_command(), *commands],
        routes=lambda settings: route_ways(settings, build),
    )


def run(settings: OwnSettings, build: Build[OwnSettings]) -> int:
    """Serve until SIGINT or SIGTERM and return 0; raises StartupError or DiedError."""
    end_by_signals()
    check_names()
    allow_many_files()
    identity, waits, redact = settings.service, settings.lifecycle, settings.logs.redact
    with (
        hearing() as signals,
        logging_to(settings.logs, identity, _package_of(settings)) as logs,
        tracing(settings.traces, identity, redact) as spans,
        instrumented(os.environ),
        bare_clients_traced(),
    ):
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            failure = runner.run(_served(settings, build, logs, spans, signals))
        logs.flush(waits.flush.total_seconds())
    if failure:
        raise DiedError(failure)
    return 0


def route_ways(settings: OwnSettings, build: Build[OwnSettings]) -> Sequence[RouteWay]:
    """Return which way each route goes that `build` adds; raises StartupError."""
    check_names()
    identity = settings.service
    with tracing(settings.traces, identity, settings.logs.redact) as spans:
        logs = Logs(settings.logs, identity)
        service = Service(settings, spans, (), Stop(), logs)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(service.route_ways(lambda service: build(service, settings)))


def _package_of(settings: Settings) -> str:
    return type(settings).__module__.partition(".")[0]


async def _served(
    settings: OwnSettings, build: Build[OwnSettings], logs: Logs, spans: Tracing, signals: Signals
) -> str | None:
    loop = asyncio.get_running_loop()
    logs.watch(loop)
    for warning in settings.warnings():
        logger.warning("{}", warning)
    Reload(settings, logs, spans).on_signal(signals)
    signals.on(signal.SIGUSR1, partial(log_stacks_apart, loop))
    stop, waits = Stop(), settings.lifecycle
    service = Service(settings, spans, (spans.observe, logs.access), stop, logs)
    blocked = partial(blocking_stack, loop, threading.get_ident())
    last_resort = LastResort(settings.service.name, service.still_running, blocked)
    process = _Process(service, stop, last_resort, waits)
    try:
        with signals.leading():
            return await process.serve(lambda service: build(service, settings), signals)
    finally:
        await spans.close(waits.flush.total_seconds())


class _Process:
    """One service between its first and its last moment."""

    def __init__(
        self, service: Service, stop: Stop, last_resort: LastResort, waits: LifecycleSettings
    ) -> None:
        self._service, self._stop = service, stop
        self._last_resort, self._waits = last_resort, waits
        self._main = asyncio.current_task()
        self._is_started = False

    async def serve(
        self, build: Callable[[Service], Awaitable[None]], signals: Signals
    ) -> str | None:
        """Serve until asked to stop; return what has failed meanwhile. Raises StartupError."""
        self._stop.on_signals(signals, self._arm, self._on_first)
        try:
            await self._serve_until_asked(build)
        except asyncio.CancelledError:
            if not self._stop.asked.is_set():  # nobody asked: the loop itself is being torn down
                raise
        except FatalError:
            raise
        except Exception as error:
            self._fail(error)
        return self._stop.failure

    async def _serve_until_asked(self, build: Callable[[Service], Awaitable[None]]) -> None:
        async with self._service.running(build) as ports:
            self._is_started = True
            logger.bind(**ports._asdict()).info("ready: {}", _listed(ports._asdict()))
            with watching(asyncio.get_running_loop()), open_files_watched():
                await self._stop.asked.wait()
            self._arm(is_hurry=False)
        logger.info("stopped")

    def _fail(self, error: Exception) -> None:
        logger.opt(exception=error).error("the service failed")
        if not self._is_started:
            raise StartupError(f"cannot start: {type(error).__name__}, see the log") from error
        self._stop.fail(f"cannot stop in order: {type(error).__name__}, see the log")

    def _arm(self, is_hurry: bool) -> None:
        waits = self._waits
        self._last_resort.arm(waits.in_a_hurry_s if is_hurry else waits.last_resort_s)

    def _on_first(self) -> None:
        if not self._is_started and self._main is not None:
            self._main.cancel()


def _listed(ports: dict[str, int]) -> str:
    return ", ".join(f"{name} on port {port}" for name, port in ports.items())
