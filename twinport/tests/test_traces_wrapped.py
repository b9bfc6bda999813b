"""The service below opentelemetry-instrument, as an operator of Kubernetes injects it."""

import os
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc
import httpx2
import pytest
from opentelemetry import instrumentation

from sample.orders.domain import Orders
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport.service.ports import Ports
from twinport.testing import FakeZipkin

from support.process import executed, started

# What its path holds is run by each Python, before the program; the command puts it there, too.
(INJECTED,) = (
    folder
    for part in instrumentation.__path__
    if (folder := Path(part, "auto_instrumentation")).is_dir()
)
# As opentelemetry-instrumentation-grpc and -starlette patch, and a distro that sets a provider.
OTHERS = """
import functools
import grpc
import starlette.applications
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.sdk.trace import TracerProvider

class Server(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        with trace.get_tracer("grpc").start_as_current_span("twice", kind=trace.SpanKind.SERVER):
            return await continuation(details)

class Grpc(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []

    def _instrument(self, **kwargs):
        self.original = grpc.aio.server
        grpc.aio.server = functools.partial(grpc.aio.server, interceptors=[Server()])

    def _uninstrument(self, **kwargs):
        grpc.aio.server = self.original

class Starlette(Grpc):
    def _instrument(self, **kwargs):
        class Traced(starlette.applications.Starlette):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.add_middleware(OpenTelemetryMiddleware)

        self.original = starlette.applications.Starlette
        starlette.applications.Starlette = Traced

    def _uninstrument(self, **kwargs):
        starlette.applications.Starlette = self.original

class Configurator:
    def configure(self, **kwargs):
        trace.set_tracer_provider(TracerProvider())
"""
ENTRIES = """
[opentelemetry_instrumentor]
grpc_aio_server = others:Grpc
starlette = others:Starlette
[opentelemetry_configurator]
others = others:Configurator
"""


async def injected(arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Process:
    path = os.pathsep.join(filter(None, (str(INJECTED), env.get("PYTHONPATH"))))
    return await executed(arguments, cwd, {**env, "PYTHONPATH": path})


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instrumentations that are installed only where an operator injects them."""
    (tmp_path / "others.py").write_text(OTHERS)
    about = tmp_path / "others-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


async def ask(ports: Ports) -> None:
    """Make one call on each transport."""
    async with httpx2.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{ports.http}/v1/orders")
    assert answer.status_code == 200
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        await OrderServiceStub(channel).ListOrders(pb.ListOrdersRequest())


async def spans_of_two_calls() -> list[tuple[str, str | None]]:
    with FakeZipkin() as collector:
        chosen = {
            "traces__exporter": "zipkin",
            "traces__endpoint": collector.endpoint,
            "traces__functions": f'["{Orders.__module__}"]',
        }
        async with started(start=injected, **chosen) as service:
            await ask(await service.ports())
            service.terminate()
            assert await service.exit_status() == 0
        assert [line for line in service.lines if line["log.level"] in {"warning", "error"}] == []
        return sorted((span["name"], span.get("kind")) for span in collector.spans)


EACH_ONCE = [
    ("GET /v1/orders", "SERVER"),
    ("Orders.end_watches", None),
    ("Orders.list", None),
    ("Orders.list", None),
    ("sample.orders.v1.OrderService/ListOrders", "SERVER"),
]


async def test_each_call_has_one_server_span_below_the_command_for_instrumentation():
    assert await spans_of_two_calls() == EACH_ONCE


async def test_each_call_has_one_server_span_whatever_else_has_patched(others):
    assert await spans_of_two_calls() == EACH_ONCE
