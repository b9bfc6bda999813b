"""All routes of the orders on the same server, behind others, with nothing around them.

Usage: plain.py hypercorn|uvicorn|granian|grpc PORT RATIO ROUTES
"""

import sys

import uvloop
from bare import SERVERS, rpc
from fastapi import APIRouter, FastAPI
from order_book.orders.domain import Orders
from order_book.orders.memory import MemoryOrderStore
from order_book.orders.rest import orders_router


def plain(routes: int) -> FastAPI:
    """Return the application that has them."""
    api = FastAPI(openapi_url=None)
    api.include_router(others(routes))
    api.include_router(orders_router(Orders(MemoryOrderStore(), 100)))
    return api


def others(count: int) -> APIRouter:
    """Return so many routes that nobody asks for."""
    router = APIRouter()
    for number in range(count):

        @router.get(f"/v1/others{number}/{{other_id}}", name=f"other{number}")
        async def other(other_id: str) -> str:
            return other_id

    return router


def main() -> None:
    """Serve as the arguments say."""
    server, port, _, routes = sys.argv[1:]
    serving = rpc(int(port)) if server == "grpc" else SERVERS[server](plain(int(routes)), int(port))
    uvloop.run(serving)


if __name__ == "__main__":
    main()
