"""What a caller who leaves in the middle of its events is called."""

from collections.abc import AsyncIterator

import anyio
import httpx2
import pytest
from fastapi.responses import StreamingResponse

from sample.settings import Settings
from twinport import Service

LEFT = anyio.BrokenResourceError()  # FastAPI's, where an event finds its reader gone
ENDS = [([LEFT], "CANCELLED"), ([LEFT, ValueError("a bug")], "INTERNAL")]


@pytest.mark.parametrize(("errors", "code"), ENDS)
async def test_only_an_event_without_a_reader_is_no_fault(errors, code, serving, settings, calls):
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        raise ExceptionGroup("sending", errors)

    async def built(service: Service, settings: Settings) -> None:
        service.rest.get("/events")(lambda: StreamingResponse(events()))

    async with serving(settings, built) as ports, httpx2.AsyncClient() as http:
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(f"http://127.0.0.1:{ports.http}/events")
    (call,) = (call for call in calls if call.path == "/events")
    assert (call.code, call.error is None) == (code, code == "CANCELLED")
