"""The path of a call: the library's files that one REST and one gRPC call enter, in order.

Counted is the second call of a connection, over HTTP/2, of which no span is kept. `make call-path`
prints it, with the functions.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import httpx2

import twinport
from sample.app import build
from sample.orders.v1.orders_pb2 import CreateOrderRequest
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from sample.settings import Settings
from twinport.testing import LocalService, free, serving

SOURCE = Path(twinport.__file__).parent
TEA = CreateOrderRequest(sku="tea", quantity=1)
IDLE_S = 1.5  # in which each timer of the service has its turn
QUIET = {
    "traces.exporter": "none",
    "traces.sample_ratio": 0.0,
    "traces.keep_slower_than": "1h",  # on a busy machine the call may take more than a second
    "http.server": "hypercorn",
}
CallPath = Mapping[str, list[str]]  # of each file, as "rest/edge", its functions


@contextmanager
def entered() -> Iterator[dict[str, list[str]]]:
    """Keep which functions of the library this thread enters, by file, until the end."""
    functions: dict[str, list[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and file.is_relative_to(SOURCE) and "testing" not in file.parts:
            names = functions.setdefault(str(file.relative_to(SOURCE).with_suffix("")), [])
            if frame.f_code.co_qualname not in names:
                names.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        yield functions
    finally:
        sys.setprofile(None)


async def path_of(service: LocalService, call: Callable[[], object]) -> CallPath:
    """Call twice, from another thread, and return what the second call has entered."""
    await asyncio.to_thread(call)
    await service.ended_calls()
    service.calls.clear()
    with entered() as timers:
        await asyncio.sleep(IDLE_S)
    with entered() as functions:
        await asyncio.to_thread(call)
        await service.ended_calls()
        await asyncio.sleep(0.1)  # what comes after the answer
    service.calls.clear()
    return {file: names for file, names in functions.items() if names != timers.get(file)}


async def call_paths() -> Mapping[str, CallPath]:
    """Return the path of one call over REST, and of the same over gRPC."""
    async with serving(free(Settings, QUIET), build) as service:
        rest = httpx2.Client(
            base_url=f"http://127.0.0.1:{service.ports.http}", http1=False, http2=True
        )
        channel = grpc.insecure_channel(f"127.0.0.1:{service.ports.grpc}")
        stub = OrderServiceStub(channel)
        with rest, closing(channel):
            return {
                "REST": await path_of(
                    service, lambda: rest.post("/v1/orders", json={"sku": "tea", "quantity": 1})
                ),
                "gRPC": await path_of(service, lambda: stub.CreateOrder(TEA)),
            }


def page(paths: Mapping[str, CallPath]) -> Iterator[str]:
    """Yield the lines that `make call-path` prints."""
    for transport, path in paths.items():
        yield f"one call over {transport}: {len(path)} files"
        for number, (file, functions) in enumerate(path.items(), 1):
            yield f"{number:4} {file + '.py':38} {', '.join(functions)}"
        yield ""


if __name__ == "__main__":
    print("\n".join(page(asyncio.run(call_paths()))))
