"""Two services, one of which fails and is slow where it is told to, and calls to them."""

import json
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from demo.services import call, installed, started

FOLDER = Path(__file__).parents[2] / ".build/stack/services"  # kept, for its installations
CREATES = "        order, _ = await self._created(new)\n        return order\n"
TROUBLE = '''"""Trouble for an operator to find."""

import asyncio

SLOW_S = 1.2


async def trouble(sku: str) -> None:
    """Do what the name of the article asks for."""
    if sku == "broken-pot":
        raise RuntimeError("the pot is broken")
    if sku == "cracked-cup":
        raise ValueError("the cup is cracked")
    if sku == "slow-tea":
        await asyncio.sleep(SLOW_S)
'''
LIST = "order_book.orders.v1.OrderService/ListOrders"
ANSWER_S = 60

Line = dict[str, Any]


def troubled_pair() -> tuple[Path, Path]:
    """Return order-book, with a bug and a slow place, and checkout, which calls it."""
    order_book, checkout = installed(FOLDER)
    orders = order_book / "src/order_book/orders"
    (orders / "trouble.py").write_text(TROUBLE, encoding="utf-8")
    domain = orders / "domain.py"
    before = domain.read_text(encoding="utf-8")
    assert CREATES in before
    after = before.replace(CREATES, f"        await trouble(new.sku)\n{CREATES}")
    after = after.replace(
        "from .model import (", "from .trouble import trouble\nfrom .model import (", 1
    )
    domain.write_text(after, encoding="utf-8")
    return order_book, checkout


def order(
    port: int, skus: Iterable[str], path: str = "/v1/orders", **headers: str
) -> list[tuple[int, str]]:
    """Order one piece of each article, and return the statuses and the ids of the traces."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        return [_order(connection, sku, path, headers) for sku in skus]
    finally:
        connection.close()


def _order(
    connection: HTTPConnection, sku: str, path: str, headers: dict[str, str]
) -> tuple[int, str]:
    body = json.dumps({"sku": sku, "quantity": 1})
    connection.request("POST", path, body, {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.headers["x-trace-id"]


def logged(order_book: Path) -> list[Line]:
    """Return the lines of a service that was called well and badly, over both transports."""
    with started(order_book, {"service.environment": "test"}) as service:
        port = service.ports()
        order(port.http, ["green-tea"] * 30)
        order(port.http, ["broken-pot", "slow-tea", "cracked-cup", "Not A Sku"] * 2)
        call(order_book, "call", LIST, "{}", "--target", f"localhost:{port.grpc}")
        assert service.stop() == 0
    return [line for line in service.lines if "@timestamp" in line]


def calls_in(lines: Iterable[Line]) -> list[Line]:
    """Return the access lines of calls."""
    return [line for line in lines if line["log.logger"] == "access"]
