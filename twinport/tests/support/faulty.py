"""A service with one fault, as a program: python faulty.py FAULT run --set ..."""

import asyncio
import hashlib
import re
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import grpc
from loguru import logger

from sample.app import build
from sample.settings import Settings
from twinport import Service, cli
from twinport.rest.servers.connections import Connections
from twinport.service.process import run


@asynccontextmanager
async def resource(name: str) -> AsyncIterator[None]:
    logger.info("{} opened", name)
    try:
        yield
    finally:
        logger.info("{} closed", name)


async def die(*_: object) -> None:
    raise ConnectionError("secret-dsn")


async def dies_in_background(service: Service) -> None:
    service.spawn("poll", die)


async def loses_grpc(service: Service) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(1, loop.create_task, service.rpc.stop(0))


async def loses_http(service: Service) -> None:
    Connections.watch = die  # the management port has begun already


async def cannot_open(service: Service) -> None:
    await service.open(resource("first"))
    await service.open(resource("second"))
    await die()


async def opens_for_ever(service: Service) -> None:
    await service.open(resource("first"))
    await asyncio.Event().wait()


async def closes_for_ever(service: Service) -> None:
    @asynccontextmanager
    async def endless() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    await service.open(endless())


async def swallows_its_cancelling(service: Service) -> None:
    @service.rest.get("/fault")
    async def hold() -> None:
        logger.info("holding")
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


async def swallows_its_cancelling_over_grpc(service: Service) -> None:
    async def hold(*_: object) -> None:
        logger.info("holding")
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    methods = {"Hold": grpc.unary_unary_rpc_method_handler(hold)}
    service.rpc.add(lambda *_: _[1].add_registered_method_handlers("fault.Fault", methods), None)


async def blocks_at_the_end(service: Service) -> None:
    service.on_stop(lambda: threading.Event().wait())


async def blocks_the_loop(service: Service) -> None:
    asyncio.get_running_loop().call_later(1, time.sleep, 1)


def asleep() -> None:
    time.sleep(600)


async def sleeps_in_a_call(service: Service) -> None:
    @service.rest.get("/fault")
    async def fault() -> None:
        logger.info("sleeping")
        asleep()


async def computes_in_a_call(service: Service) -> None:
    @service.rest.get("/fault")
    async def fault() -> None:
        logger.info("computing")
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)  # minutes in which no signal is looked at


async def matches_in_a_call(service: Service) -> None:
    @service.rest.get("/fault")
    async def fault() -> None:
        logger.info("matching")
        re.match("(a+)+$", "a" * 99 + "b")  # years in which no thread runs


async def closes_badly(service: Service) -> None:
    @asynccontextmanager
    async def bad() -> AsyncIterator[None]:
        yield
        raise OSError("disk")

    await service.open(resource("first"))
    await service.open(bad())


def main() -> None:
    fault = globals()[sys.argv.pop(1)]

    async def built(service: Service, settings: Settings) -> None:
        await build(service, settings)
        await fault(service)

    sys.exit(cli.main(Settings, lambda settings: run(settings, built)))


if __name__ == "__main__":
    main()
