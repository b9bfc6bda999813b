"""The management port of the real service: levels, profiles, and who may have them."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from sample.settings import Settings
from twinport import Service, profiling
from twinport.errors import FailedPreconditionError, PermissionDeniedError, UnavailableError
from twinport.management.app import Gatekeeper
from twinport.service.ports import Ports

from support.process import started

TOKEN = "a-token-for-operators"
GUARDED = [("GET", "/loggers"), ("PUT", "/loggers/root"), ("POST", "/profile?seconds=0.01")]
MISTAKES = [  # what is sent, what the answer names
    (b"", ""),
    (b"{", ""),
    (b"{}", "level"),
    (b'{"level": "LOUD"}', "level"),
    (b'{"level": "DEBUG", "for": "10"}', "for"),
    (b'{"level": "DEBUG", "for": "0s"}', "for"),
    (b'{"level": "DEBUG", "for": "1000d"}', "for"),
    (b'{"level": null, "for": "10s"}', ""),
    (b'{"level": "DEBUG", "till": "10s"}', "till"),
]
Serving = Callable[..., Any]


def operator(ports: Ports, **headers: str) -> httpx2.AsyncClient:
    base = f"http://127.0.0.1:{ports.management}"
    return httpx2.AsyncClient(base_url=base, headers=headers, timeout=20)


@pytest.fixture
async def here(ports: Ports) -> AsyncIterator[httpx2.AsyncClient]:
    async with operator(ports) as here:
        yield here


@pytest.fixture
async def guarded(serving: Serving, settings: Settings) -> AsyncIterator[Ports]:
    update = {"token": SecretStr(TOKEN)}
    management = settings.management.model_copy(update=update)
    async with serving(settings.model_copy(update={"management": management})) as ports:
        yield ports


async def test_levels_are_listed_changed_and_put_back(here):
    assert (await here.get("/loggers")).json() == {"loggers": {"root": "INFO"}}
    changed = await here.put("/loggers/some.module", json={"level": "DEBUG"})
    assert changed.json() == {"loggers": {"root": "INFO", "some.module": "DEBUG"}}
    changed = await here.put("/loggers/root", json={"level": "ERROR"})
    assert changed.json()["loggers"]["root"] == "ERROR"
    for name in ("root", "some.module"):
        back = await here.put(f"/loggers/{name}", json={"level": None})
    assert back.json() == {"loggers": {"root": "INFO"}}


async def test_a_level_goes_back_after_its_time(here):
    await here.put("/loggers/some.module", json={"level": "DEBUG", "for": "50ms"})
    async with asyncio.timeout(5):
        while "some.module" in (await here.get("/loggers")).json()["loggers"]:
            """Ask again."""


@pytest.mark.parametrize(("body", "field"), MISTAKES)
async def test_a_change_that_makes_no_sense_is_a_problem_that_names_the_field(here, body, field):
    answer = await here.put("/loggers/root", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["field"] == field
    assert (await here.get("/loggers")).json() == {"loggers": {"root": "INFO"}}


async def test_a_profile_is_a_page_or_json_as_one_likes(here):
    page = await here.post("/profile?seconds=0.05")
    assert page.headers["content-type"].startswith("text/html")
    assert "<html" in page.text.lower()
    for answer in (
        await here.post("/profile?seconds=0.05", headers={"accept": "application/json"}),
        await here.post("/profile?seconds=0.05&format=speedscope"),
    ):
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.text)["$schema"].startswith("https://www.speedscope.app/")


async def test_one_profile_at_a_time_which_ends_when_its_caller_leaves(here):
    first = asyncio.create_task(here.post("/profile?seconds=59"))
    async with asyncio.timeout(20):
        while not profiling._one_at_a_time.locked():
            await here.get("/livez")
    second = await here.post("/profile?seconds=0.1")
    assert (second.status_code, second.json()["code"]) == (409, "ALREADY_EXISTS")
    first.cancel()
    async with asyncio.timeout(20):
        while (await here.post("/profile?seconds=0.01")).status_code != 200:
            """Ask again."""


@pytest.mark.parametrize("query", ["seconds=0", "seconds=61", "seconds=nan", "format=x", "s=1"])
async def test_a_profile_that_cannot_be_taken_is_a_problem(here, query):
    answer = await here.post(f"/profile?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_with_a_token_whoever_does_not_send_it_is_refused(guarded, method, path):
    for sent in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        async with operator(guarded, **sent) as stranger:
            answer = await stranger.request(method, path, json={"level": "DEBUG"})
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text
    async with operator(guarded, authorization=f"Bearer {TOKEN}") as known:
        answer = await known.request(method, path, json={"level": "DEBUG"})
    assert answer.status_code == 200


async def test_probes_and_metrics_are_for_everybody(guarded):
    async with operator(guarded, host="elsewhere.example") as stranger:
        paths = ("/livez", "/readyz", "/metrics")
        assert [(await stranger.get(path)).status_code for path in paths] == [200, 200, 200]


NOT_READY = [  # what a check raises, what the answer shows
    (FailedPreconditionError("run the command migrate"), "run the command migrate"),
    (OSError("no host tea@db.example"), "OSError"),
    (UnavailableError("db.example is away"), "UnavailableError"),
]


@pytest.mark.parametrize(("error", "shown"), NOT_READY)
async def test_what_an_operator_has_to_do_is_shown_and_what_else_failed_only_named(
    serving: Serving, settings: Settings, error: Exception, shown: str
):
    async def fail() -> None:
        raise error

    async def build(service: Service, settings: Settings) -> None:
        service.check("orders.store", fail)

    async with serving(settings, build) as ports, operator(ports) as here:
        answer = await here.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["orders.store"]["status"] == shown


STRANGERS = [
    {"host": "evil.example"},
    {"host": "localhost.evil.example"},
    {"host": "evil_example"},
    {"host": "localhost:"},
    {"x-forwarded-for": "8.8.8.8"},
    {"x-forwarded-for": "127.0.0.1"},
    {"x-forwarded-proto": "http"},
    {"forwarded": "for=8.8.8.8"},
    {"via": "1.1 proxy"},
    {"x-real-ip": "8.8.8.8"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost"},  # of another port
    {"origin": "https://localhost:9000", "host": "localhost:9000"},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
async def test_pages_and_proxies_on_this_machine_do_not_let_strangers_in(ports, headers):
    async with operator(ports, **headers) as stranger:
        for method, path in GUARDED:
            answer = await stranger.request(method, path, json={"level": "DEBUG"})
            assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")
        assert (await stranger.get("/livez")).status_code == 200


@pytest.mark.parametrize(
    "host", ["[::1]evil.com", "localhost:80@evil.com", "127.0.0.1:evil.com", "[::1"]
)
async def test_a_host_that_is_none_is_refused(ports, host):
    async with operator(ports, host=host) as stranger:
        for method, path in GUARDED:
            answer = await stranger.request(method, path, json={"level": "DEBUG"})
            assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "[::1]:9000", "127.0.0.1"])
async def test_whoever_names_this_machine_is_let_in(ports, host):
    for headers in ({}, {"origin": f"http://{host.lower()}"}):
        async with operator(ports, host=host, **headers) as known:
            assert (await known.get("/loggers")).status_code == 200


async def test_with_a_token_a_proxy_may_stand_between(guarded):
    headers = {"authorization": f"Bearer {TOKEN}", "x-forwarded-for": "8.8.8.8", "via": "1.1 proxy"}
    async with operator(guarded, **headers) as known:
        assert (await known.get("/loggers")).status_code == 200


PEERS = [
    ("127.0.0.1", True),
    ("127.8.9.10", True),
    ("::1", True),
    ("::ffff:127.0.0.1", True),
    ("10.0.0.1", False),
    ("::ffff:10.0.0.1", False),
    ("", False),
    ("localhost.evil.example", False),
]


@pytest.mark.parametrize(("peer", "admitted"), PEERS)
def test_without_a_token_only_this_machine_is_let_in(peer, admitted):
    scope = {"type": "http", "path": "/", "headers": [(b"host", b"localhost")], "query_string": b""}
    request = Request({**scope, "client": (peer, 1), "server": ("localhost", 9000)})
    refused = pytest.raises(PermissionDeniedError)
    with nullcontext() if admitted else refused:
        assert Gatekeeper(None).admit(request) is None


async def test_an_unknown_path_is_a_problem(here):
    answer = await here.get("/no-such-path")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 404


async def test_a_quiet_logger_can_be_heard_in_the_running_process():
    async with started(logs__levels="{access = 'OFF'}") as service:
        ports = await service.ports()
        base = f"http://127.0.0.1:{ports.http}"
        async with operator(ports) as here, httpx2.AsyncClient(base_url=base) as http:
            await http.get("/v1/orders?before")
            await here.put("/loggers/access", json={"level": "INFO", "for": "10m"})
            await http.get("/v1/orders")
            line = await service.logged("GET /v1/orders")
        assert line["log.logger"] == "access"
        assert len([line for line in service.lines if line["log.logger"] == "access"]) == 1


async def test_a_signal_shows_the_stacks_and_the_service_goes_on():
    async with started() as service:
        ports = await service.ports()
        service.process.send_signal(signal.SIGUSR1)
        line = await service.logged("stacks of")
        assert "thread MainThread" in line["error.stack_trace"]
        async with operator(ports) as here:
            assert (await here.get("/readyz")).status_code == 200
