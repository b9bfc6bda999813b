"""The same endpoint on the same server, with nothing around it: what ours is compared with.

Usage: bare.py hypercorn|uvicorn|granian|grpc PORT
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from fastapi import FastAPI
from order_book.orders.domain import Orders
from order_book.orders.memory import MemoryOrderStore
from order_book.orders.model import NewOrder, Order
from order_book.orders.rpc import OrderServicer
from order_book.orders.v1.orders_pb2_grpc import add_OrderServiceServicer_to_server

HOST = "127.0.0.1"
IDLE_S, BACKLOG = 600, 1024  # of connections that wait for their turn
Serve = Callable[[Any, int], Awaitable[None]]


def rest() -> FastAPI:
    """Return two typed routes, the measured one first."""
    orders, api = Orders(MemoryOrderStore(), 100), FastAPI(openapi_url=None)

    @api.get("/v1/orders/{order_id}")
    async def get_order(order_id: str) -> Order:
        return await orders.get(order_id)

    @api.post("/v1/orders", status_code=201)
    async def create_order(new: NewOrder) -> Order:
        return await orders.create(new)

    return api


async def hypercorn(app: Any, port: int) -> None:
    """Serve until the process is ended."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.errorlog, config.include_server_header = [f"{HOST}:{port}"], None, False
    config.keep_alive_max_requests = 2**31 - 1  # else one connection is not enough
    config.keep_alive_timeout, config.backlog = IDLE_S, BACKLOG
    await serve(app, config)


async def uvicorn(app: Any, port: int) -> None:
    """Serve until the process is ended."""
    from uvicorn import Config, Server

    options: dict[str, Any] = {"http": "httptools", "loop": "none", "access_log": False}
    options["timeout_keep_alive"] = IDLE_S
    await Server(Config(app, HOST, port, log_config=None, **options)).serve()


async def granian(app: Any, port: int) -> None:
    """Serve until the process is ended."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    await Server(app, HOST, port, interface=Interfaces.ASGI, log_enabled=False).serve()


async def rpc(port: int, interceptors: tuple[Any, ...] = ()) -> None:
    """Serve the gRPC methods of orders until the process is ended."""
    import grpc.aio

    server = grpc.aio.server(interceptors=interceptors)
    add_OrderServiceServicer_to_server(OrderServicer(Orders(MemoryOrderStore(), 100)), server)
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    await asyncio.Event().wait()


SERVERS: dict[str, Serve] = {"hypercorn": hypercorn, "uvicorn": uvicorn, "granian": granian}


def main() -> None:
    """Serve as the arguments say."""
    server, port = sys.argv[1], int(sys.argv[2])
    uvloop.run(rpc(port) if server == "grpc" else SERVERS[server](rest(), port))


if __name__ == "__main__":
    main()
