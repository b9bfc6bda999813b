"""What the page about FastAPI shows runs, and does what it says."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from twinport import Settings, testing
from twinport.testing import LocalService

PAGE = Path(__file__).parents[1] / "docs/fastapi.md"
SECTION = re.compile(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = {
    name: code[1] for name, text in SECTION.findall(PAGE.read_text()) if (code := CODE.search(text))
}


async def lifespans(service: LocalService, _: Any) -> None:
    assert (await service.rest.get("/pool")).json() == "open"


async def middleware(service: LocalService, _: Any) -> None:
    assert (await service.rest.get("/docs")).headers["x-version"] == "0.0.0"


async def dependencies(service: LocalService, _: Any) -> None:
    assert (await service.rest.get("/stock")).json() == "a stock for tests"


async def errors(service: LocalService, _: Any) -> None:
    answer = await service.rest.get("/last")
    assert (answer.status_code, answer.text) == (410, "sold out")


async def streams(service: LocalService, _: Any) -> None:
    answer = await service.rest.get("/numbers")
    assert answer.text.splitlines() == ['{"number":0}', '{"number":1}', '{"number":2}']


async def tasks(service: LocalService, names: Any) -> None:
    assert (await service.rest.post("/orders")).status_code == 202
    await service.ended_calls()
    assert names["sent"] == ["a mail"]


async def uploads(service: LocalService, _: Any) -> None:
    assert (await service.rest.put("/picture", content=b"12345")).json() == 5


async def mounts(service: LocalService, _: Any) -> None:
    assert (await service.rest.get("/admin/users/ann")).json() == "ann"
    assert (await service.rest.get("/files/pyproject.toml")).status_code == 200
    routes = [call.route for call in await service.ended_calls(2)]
    assert routes == ["/admin/users/{name}", "/files/{path}"]


async def fast_path(service: LocalService, _: Any) -> None:
    assert (await service.rest.get("/prices/tea")).json() == {"sku": "tea", "cents": 100}
    assert (await service.rest.get("/prices/tea?cents=x")).status_code == 400


CHECKS: dict[str, Callable[[LocalService, Any], Awaitable[None]]] = {
    "Lifespans": lifespans,
    "Middleware": middleware,
    "Dependencies": dependencies,
    "Errors": errors,
    "Instead of WebSockets": streams,
    "Background tasks": tasks,
    "Uploads": uploads,
    "Files and applications": mounts,
    "The fast path": fast_path,
}


@pytest.mark.parametrize("name", {**SHOWN, **CHECKS})
async def test_an_example_does_what_the_page_says(name, monkeypatch):
    monkeypatch.chdir(PAGE.parents[1])
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(SHOWN[name], f"{PAGE.name}, {name}", "exec"), names)
    async with testing.serving(testing.free(Settings), names["build"]) as service:
        await CHECKS[name](service, names)
