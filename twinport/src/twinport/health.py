"""Whether the service can take calls: the same answer for /readyz and grpc.health.v1."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from loguru import logger

from .errors import FailedPreconditionError

Probe = Callable[[], Awaitable[object]]

CHECK_TIMEOUT_S = 2.0
FRESH_S = 1.0  # how long an answer is given again without asking the probes


class CheckResult(NamedTuple):
    """The result of one check; `problem` is empty if all is well."""

    name: str
    problem: str
    latency_s: float


class Readiness(NamedTuple):
    """`reason` says why the service is not ready whatever the checks say; else it is empty."""

    reason: str
    results: tuple[CheckResult, ...]

    @property
    def is_ready(self) -> bool:
        """Tell whether calls may be sent here."""
        return not self.reason and not any(result.problem for result in self.results)


class Health:
    """Starting until `ready`, stopping from `drain` on; in between the checks decide."""

    def __init__(self) -> None:
        self._reason = "starting"
        self._checks: dict[str, Probe] = {}
        self._last_run: asyncio.Task[tuple[CheckResult, ...]] | None = None
        self._fresh_until = 0.0
        self.changed = asyncio.Event()

    def check(self, name: str, probe: Probe) -> None:
        """Ask `probe` for readiness; it raises if it is not well, or takes longer than 2 s.

        /readyz shows the text of a FailedPreconditionError, and of all others the class.
        """
        self._checks[name] = probe

    def ready(self) -> None:
        """Let the checks decide from now on."""
        self._set_reason("")

    def drain(self) -> None:
        """Be not ready any more, for good."""
        self._set_reason("stopping")

    async def readiness(self) -> Readiness:
        """Run all checks at once, or return their results of a moment ago."""
        run = self._last_run
        if run is None or (run.done() and time.monotonic() >= self._fresh_until):
            run = self._last_run = asyncio.create_task(self._check_all())
        return Readiness(self._reason, await asyncio.shield(run))

    async def _check_all(self) -> tuple[CheckResult, ...]:
        checks = [_check(name, probe) for name, probe in self._checks.items()]
        results = tuple(await asyncio.gather(*checks))
        self._fresh_until = time.monotonic() + FRESH_S
        return results

    def _set_reason(self, reason: str) -> None:
        self._reason = reason
        self.changed.set()
        self.changed = asyncio.Event()


async def _check(name: str, probe: Probe) -> CheckResult:
    started = time.monotonic()
    problem = ""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            await probe()
    except TimeoutError:
        problem = "no answer in time"
    except Exception as error:
        logger.opt(exception=error).debug("check {!r} failed", name)
        problem = _shown(error)
    return CheckResult(name, problem, time.monotonic() - started)


def _shown(error: Exception) -> str:
    """Say what an operator has to do; other texts may name hosts or users, and are in the log."""
    return str(error) if isinstance(error, FailedPreconditionError) else type(error).__name__
