"""A purchase: a request that goes through both services."""

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .services import DemoError, call, spans_to

PURCHASE = {"sku": "green-tea", "quantity": 2}
METHOD = "checkout.purchases.v1.PurchaseService/CreatePurchase"
ANSWER_S = 10


def buy_over_grpc(checkout: Path, target: str, endpoint: str) -> None:
    """Send a gRPC request by the service's own command; raises DemoError."""
    print(f"\ngRPC: checkout call {METHOD} '{json.dumps(PURCHASE)}'")
    sets = [f"--set={key}={value}" for key, value in spans_to(endpoint).items()]
    print(call(checkout, "call", METHOD, json.dumps(PURCHASE), "--target", target, *sets).strip())


def buy_over_rest(port: int) -> str:
    """Send a REST request and return the id of its trace; raises DemoError."""
    url, body = f"http://127.0.0.1:{port}/v1/purchases", json.dumps(PURCHASE)
    headers = {"content-type": "application/json"}
    print(f"\nREST: curl -d '{body}' -H content-type:application/json {url}")
    try:
        with urlopen(Request(url, body.encode(), headers), timeout=ANSWER_S) as answer:
            print(answer.read().decode())
            return str(answer.headers["x-trace-id"])
    except HTTPError as error:
        raise DemoError(f"{url}: {error.code} {error.read().decode()}") from error
