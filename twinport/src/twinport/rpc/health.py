"""grpc.health.v1, as /readyz says it (github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

import asyncio
from collections.abc import AsyncIterator, Container
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from ..health import Health

WATCH_EVERY_S = 5.0  # how soon a watcher hears of a check that changed its mind


class ReadinessServicer(HealthServicer):
    """Answers for the whole service, by its own name "" or by that of one of its `services`."""

    def __init__(self, health: Health, services: Container[str], stopped: asyncio.Event) -> None:
        self._health, self._services, self._stopped = health, services, stopped

    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        """Say whether calls may be sent here; NOT_FOUND for a service that is not here."""
        if not self._knows(request.service):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return await self._response(request.service)

    async def Watch(
        self, request: HealthCheckRequest, context: Any
    ) -> AsyncIterator[HealthCheckResponse]:
        """Say it now and after each change, until the server stops."""
        last = None
        while not self._stopped.is_set():
            changed = self._health.changed  # taken before the look, or a change during it is lost
            response = await self._response(request.service)
            if response != last:
                last = response
                yield response
            await _first_of(changed, self._stopped)

    async def _response(self, service: str) -> HealthCheckResponse:
        if not self._knows(service):
            return HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN)
        is_ready = (await self._health.readiness()).is_ready
        status = HealthCheckResponse.SERVING if is_ready else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)

    def _knows(self, service: str) -> bool:
        return not service or service in self._services


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=WATCH_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
