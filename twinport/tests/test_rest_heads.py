"""What is no HTTP, or an HTTP that is not spoken here, is refused by each of the servers."""

from typing import Any

import h11
import httpx2
import pytest

from sample.settings import Settings
from twinport.rest.servers.hypercorn.http1 import StrictH11
from twinport.service.ports import Ports

from support.wire import Wire

SERVERS = ["hypercorn", "uvicorn", "granian"]
GET = b"GET /v1/orders HTTP/1.1\r\n"
END = b"connection: close\r\n\r\n"

ACCEPTED = {
    "a name": GET + b"host: a_b.example:80\r\n" + END,
    "an address": GET + b"host: [::1]:80\r\n" + END,
    "HTTP/1.0 without a host": b"GET /v1/orders HTTP/1.0\r\n" + END,
    "a body as it is": GET + b"host: a\r\ncontent-encoding: identity\r\n" + END,
}
REFUSED = {  # what is sent, the status
    "no host": (GET + END, 400),
    "an empty host": (GET + b"host:\r\n" + END, 400),
    "two hosts": (GET + b"host: a\r\nhost: b\r\n" + END, 400),
    "a host with a blank": (GET + b"host: a b\r\n" + END, 400),
    "a host with a path": (GET + b"host: a/b\r\n" + END, 400),
    "a host with a name before it": (GET + b"host: a@b\r\n" + END, 400),
    "a host behind an address": (GET + b"host: [::1]b\r\n" + END, 400),
    "a coding": (GET + b"host: a\r\ncontent-encoding: gzip\r\n" + END, 415),
    "a folded header": (GET + b"host: a\r\nx: a\r\n b\r\n" + END, 400),
    "a bare LF": (GET + b"host: a\nx: b\r\n" + END, 400),
    "bare LFs alone": (b"GET /v1/orders HTTP/1.1\nhost: a\n\n", 400),
    "HTTP/1.2": (b"GET /v1/orders HTTP/1.2\r\nhost: a\r\n" + END, 505),
    "HTTP/3.7": (b"GET /v1/orders HTTP/3.7\r\nhost: a\r\n" + END, 505),
}
BY_ITS_PARSER = {  # where it is not our edge that refuses, or nobody does
    ("uvicorn", "HTTP/1.2"): 400,
    ("uvicorn", "HTTP/3.7"): 400,
    ("granian", "HTTP/1.2"): 400,
    ("granian", "HTTP/3.7"): 400,
    ("granian", "a bare LF"): 200,
    ("granian", "bare LFs alone"): 200,
}


@pytest.fixture(params=SERVERS)
async def served(request: pytest.FixtureRequest, serving: Any, settings: Settings) -> Any:
    http = settings.http.model_copy(update={"server": request.param})
    async with serving(settings.model_copy(update={"http": http})) as ports:
        yield request.param, ports


async def status(ports: Ports, sent: bytes) -> int:
    async with Wire.open(ports.http) as wire:
        wire.send(sent)
        return int((await wire.until(b"\r\n")).split()[1])


async def test_a_head_that_is_none_is_refused(served):
    server, ports = served
    expected = {name: BY_ITS_PARSER.get((server, name), end) for name, (_, end) in REFUSED.items()}
    assert {name: await status(ports, sent) for name, (sent, _) in REFUSED.items()} == expected


async def test_a_head_that_is_one_is_answered(served):
    _, ports = served
    answers = {name: await status(ports, sent) for name, sent in ACCEPTED.items()}
    assert answers == dict.fromkeys(ACCEPTED, 200)


def test_a_head_may_come_in_any_parts():
    head, connection = GET + b"host: a\r\nx: b\r\n\r\n", StrictH11(h11.SERVER)
    for each in head:
        assert connection.next_event() is h11.NEED_DATA
        connection.receive_data(bytes([each]))
    assert isinstance(connection.next_event(), h11.Request)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_does_not_say_it_is_json_is_no_wrong_json(ports, kind):
    headers = {} if kind is None else {"content-type": kind}
    async with httpx2.AsyncClient() as http:
        url = f"http://127.0.0.1:{ports.http}/v1/orders"
        answer = await http.post(url, content=b'{"sku":"tea","quantity":1}', headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]
