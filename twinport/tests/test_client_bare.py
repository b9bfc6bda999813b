"""Clients that a service makes for itself, without its settings: their calls are traced, too."""

from contextlib import AsyncExitStack

import httpx2
import pytest

from twinport.testing import FakeZipkin
from twinport.testing.zipkin import Span

from support.places import SUPPORT
from support.process import executed, started

RELAYING = str(SUPPORT / "relaying.py")


async def spans_of(path: str) -> list[Span]:
    """Let a service call itself, and return the spans of that."""
    async with AsyncExitStack() as running:
        collector = running.enter_context(FakeZipkin())
        chosen = {"traces__exporter": "zipkin", "traces__endpoint": collector.endpoint}
        service = await running.enter_async_context(started(RELAYING, start=executed, **chosen))
        ports = await service.ports()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as http:
            assert (await http.get(path, params={"grpc": ports.grpc})).is_success
        service.terminate()
        assert await service.exit_status() == 0
    assert not collector.mistakes
    return collector.spans


CLIENTS = [
    ("/relay/httpx", "/relay/{library}"),
    ("/relay/httpx2", "/relay/{library}"),
    ("/relay/ours", "/relay/ours"),
]


@pytest.mark.parametrize(("path", "route"), CLIENTS)
async def test_each_call_is_traced_once_whoever_has_made_the_client(path: str, route: str):
    spans = await spans_of(path)
    (relay,) = [span for span in spans if span["name"] == f"GET {route}"]
    calls = {span["id"]: span["name"] for span in spans if span["kind"] == "CLIENT"}
    assert sorted(calls.values()) == ["GET", "GET", "grpc.health.v1.Health/Check"]
    assert {span["parentId"] for span in spans if span["id"] in calls} == {relay["id"]}
    ends = [span for span in spans if span["name"] == "GET /end"]
    assert {span["parentId"] for span in ends} == {each for each in calls if calls[each] == "GET"}
    assert "opensesame" not in str(spans)
