"""The service as a process of its own, for tests that send signals and read its log."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sample as package
from twinport.service.ports import Ports
from twinport.testing.process import FREE, options, ports_in, record_in, records_of

from support.forking import Forked, forked
from support.places import SAMPLE

HOME = SAMPLE
PREFIX = f"{package.__name__.upper()}__"
QUIET = {**FREE, "lifecycle.grace": "5s"}
TIMEOUT_S = 60  # what a test waits for comes at once, or the test has failed
START_S = 60  # with all imports, of which a busy machine makes 15 s

Start = Callable[[Sequence[str], Path, Mapping[str, str]], Awaitable[Process | Forked]]


class Service:
    """A started process; `lines` are its log records so far."""

    def __init__(self, process: Process | Forked) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.plain: list[str] = []
        self._reading = asyncio.create_task(self._read())
        self._news = asyncio.Condition()

    async def ports(self) -> Ports:
        """Wait until it is ready."""
        return ports_in(await self.logged("ready", START_S))

    async def logged(self, message: str, seconds: float = TIMEOUT_S) -> dict[str, Any]:
        """Wait for a record whose message begins so."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: self.has_logged(message) or self._reading.done())
        assert self.has_logged(message), self.plain
        return records_of(message, self.lines)[0]

    def has_logged(self, message: str) -> bool:
        return bool(records_of(message, self.lines))

    async def exit_status(self) -> int:
        """Wait for its end, and for its last line."""
        async with asyncio.timeout(TIMEOUT_S):
            await self._reading
            return await self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def terminate_again(self) -> None:
        """Send SIGTERM until it is a second wish, and not the first one told again."""
        async with asyncio.timeout(TIMEOUT_S):
            while not self.has_logged("SIGTERM again"):
                self.terminate()
                await asyncio.sleep(0.05)

    async def _read(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            async with self._news:
                self._keep(line.decode())
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def _keep(self, line: str) -> None:
        record = record_in(line)
        self.lines += record
        self.plain += [] if record else [line.rstrip("\n")]


async def executed(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Process:
    """Run `python ARGUMENTS`, as an operator does."""
    command = (sys.executable, *arguments)
    return await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=env, stdout=PIPE, stderr=STDOUT
    )


@asynccontextmanager
async def started(
    *program: str, config: Path = HOME / "config", start: Start = forked, **chosen: str
) -> AsyncIterator[Service]:
    """Start the service with QUIET settings, `chosen` ones (http__port="8000") above them."""
    sets = options({**QUIET, **dotted(chosen)})
    # Unlike own_environment it keeps OTEL_ and PYTHONPATH, which tests set for the service.
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = program or ("-m", package.__name__)
    process = await start([*command, "run", f"--config={config}", *sets], HOME, env)
    service = Service(process)
    try:
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await service.exit_status()


def dotted(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return settings by their names (`http.port`), as arguments cannot be called."""
    return {name.replace("__", "."): value for name, value in chosen.items()}
