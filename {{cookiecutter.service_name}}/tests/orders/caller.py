"""Another service, which calls this one by its client package: a program for a test to run."""

import asyncio
import json
import sys

from twinport import NotFoundError, Service, Settings
from twinport.testing import free, serving

from {{ cookiecutter.__package }}.orders.v1 import orders_pb2 as pb
from {{ cookiecutter.__package }}.orders.v1.orders_pb2_grpc import OrderServiceStub

PATHS = ("/sku/none", "/sku/slow")


async def build(service: Service, settings: Settings) -> None:
    orders = OrderServiceStub(service.client("orders"))

    @service.rest.get("/sku/{order_id}")
    async def sku(order_id: str) -> str:
        try:
            response = await orders.GetOrder(pb.GetOrderRequest(id=order_id))
        except NotFoundError as error:
            return str(error)
        return response.order.sku


async def main(target: str, deadline: str, request_id: str) -> None:
    """Print what the caller of that service reads, the seconds that it took, and our imports."""
    client = {"target": target, "deadline": deadline}
    async with serving(free(Settings, {"clients.orders": client}), build) as service:
        headers = {"x-request-id": request_id}
        answers = [(await service.rest.get(path, headers=headers)).json() for path in PATHS]
        took_s = [call.duration_ns / 1e9 for call in await service.ended_calls(len(PATHS))]
    print(json.dumps({"answers": answers, "took_s": took_s, "generated": pb.__file__}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
