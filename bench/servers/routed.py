"""The baked service with more routes before its own.

Usage: routed.py ROUTES ARGUMENTS...
"""

import sys

from order_book.app import build
from order_book.settings import Settings
from plain import others

import twinport

COUNT = int(sys.argv.pop(1))


async def build_routed(service: twinport.Service, settings: Settings) -> None:
    """Wire the routes and then the service."""
    service.rest.include_router(others(COUNT))
    await build(service, settings)


if __name__ == "__main__":
    sys.exit(twinport.main(Settings, build_routed))
