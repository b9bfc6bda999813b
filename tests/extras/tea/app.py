"""Composition root and settings of the service."""

import twinport
from twinport import Service, needs


class Settings(twinport.Settings):
    """Everything that may differ between two deployments."""


async def build(service: Service, settings: Settings) -> None:
    """Serve one kind of tea."""

    @service.rest.get("/tea")
    async def get_tea() -> str:
        return "assam"

    service.allow({"get_tea": needs()})
