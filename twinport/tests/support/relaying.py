"""A service that calls itself, with clients of each kind: python relaying.py run --set ..."""

import asyncio
import sys
from importlib import import_module

from fastapi import Request
from grpc.aio import Channel, insecure_channel  # by name, as a library may
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sample.settings import Settings
from twinport import Service, cli
from twinport.clients.clients import connect
from twinport.clients.outgoing_call import Outgoing
from twinport.clients.settings import ClientSettings
from twinport.service.process import run

HTTP = f"{connect.__module__.rpartition('.')[0]}.http_client"


async def build(service: Service, settings: Settings) -> None:
    @service.rest.get("/end")
    async def end() -> str:
        return "end"

    @service.rest.get("/relay/ours")
    async def relay_ours(request: Request, grpc: int) -> None:
        outgoing = Outgoing("itself", ClientSettings(url=str(request.base_url)), ())
        async with import_module(HTTP).HttpClient(outgoing) as client:
            await client.get("/end", params={"token": "opensesame"})
            await client.get("/end")
        await check(connect(ClientSettings(target=f"127.0.0.1:{grpc}"), "itself"))

    @service.rest.get("/relay/{library}")
    async def relay_bare(library: str, request: Request, grpc: int) -> None:
        bare = import_module(library)  # as late as may be
        url = f"{request.base_url}end?token=opensesame"
        async with bare.AsyncClient() as client:
            await client.get(url)
        await asyncio.to_thread(bare.get, url)
        await check(insecure_channel(f"127.0.0.1:{grpc}"))


async def check(opened: Channel) -> None:
    async with opened as channel:
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


if __name__ == "__main__":
    sys.exit(cli.main(Settings, lambda settings: run(settings, build)))
