"""What is not installed: the base needs no server, and each lack is told in one line."""

import subprocess
import sys

import httpx2
import pytest

from twinport import extras
from twinport.service.ports import Ports

BASE = [  # what a caller of services uses
    "twinport",
    "twinport.auth.permissions",
    "twinport.cli",
    "twinport.clients",
    "twinport.clients.http_client",
    "twinport.errors",
    "twinport.logs",
    "twinport.service.settings",
    "twinport.settings",
    "twinport.traces",
    "twinport.validation",
]


def last_line_of(code: str, *absent: str) -> str:
    """Run `code` where the packages are not installed; return the last line of its complaints."""
    program = f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stderr.strip().rpartition("\n")[2]


def test_the_base_imports_no_package_of_an_extra() -> None:
    assert last_line_of(f"import {', '.join(BASE)}", *extras.EXTRAS) == ""


SERVER = """
from twinport.rest.servers import http_server
from twinport.rest.settings import HttpSettings
http_server("http", None, None, HttpSettings(server={!r}))
"""
TOKENS = """
from twinport.auth.auth import auth_method
from twinport.auth.settings import AuthSettings
issuer = "https://issuer.example"
auth_method(AuthSettings(mode="jwt", issuer=issuer, audience="a", keys="keys.pem"))
"""


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn", "granian"])
def test_a_server_that_is_not_installed_is_one_plain_line(server: str) -> None:
    line = last_line_of(SERVER.format(server), server)
    extra = extras.EXTRAS[server]
    assert f': http.server = "{server}" needs twinport[{extra}]: {server}' in line


def test_tokens_without_their_extra_are_one_plain_line() -> None:
    line = last_line_of(TOKENS, "jwt")
    assert line.endswith(': auth.mode = "jwt" needs twinport[jwt]: jwt is not installed')


async def test_a_profile_without_its_extra_says_which(
    ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyinstrument", None)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.management}") as client:
        answer = await client.post("/profile?seconds=0.01")
    assert (answer.status_code, answer.json()["code"]) == (501, "UNIMPLEMENTED")
    said = "a profile needs twinport[profile]: pyinstrument is not installed"
    assert answer.json()["detail"] == said


@pytest.mark.parametrize("name", ["Service", "rest.lines"])
def test_a_public_name_without_its_extra_says_which(name: str) -> None:
    module, _, last = f"twinport.{name}".rpartition(".")
    line = last_line_of(f"from {module} import {last}", "fastapi")
    said = f"twinport.{name} needs twinport[server]: fastapi is not installed"
    assert line == f"twinport.extras.MissingExtraError: {said}"


def test_what_no_extra_would_bring_is_told_as_python_tells_it() -> None:
    line = last_line_of("from twinport import extras; extras.part('orjson', 'a line')", "orjson")
    assert line.startswith("ModuleNotFoundError: ")
