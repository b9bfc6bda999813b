"""The library's base, and the base with each extra alone, installed into a fresh environment."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from twinport.testing import Running

TOOLS = Path(sys.executable).parent
PROGRAMS = Path(__file__).parent / "extras"
LIBRARY = Path(__file__).parents[1] / "twinport"
PATIENCE_S = 60
CONFIG = """
service.name = "tea"
traces.exporter = "none"
http = {host = "127.0.0.1", port = 0}
grpc = {host = "127.0.0.1", port = 0}
management.port = 0
lifecycle.drain = "0s"
logs.sinks.console = {kind = "console", format = "json", stream = "stdout"}
"""
# A public key of nobody: the tests show no token that it would have to verify.
KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
"""


class Installed:
    """An environment that has the library, with `extras` or none, and nothing else."""

    def __init__(self, folder: Path, run: Any, extras: str) -> None:
        self._python, self._config = folder / "venv/bin/python", folder / "config"
        uv = TOOLS / "uv"
        run(uv, "venv", folder / "venv", cwd=folder)
        wheel = next(folder.parent.glob("wheel/*.whl"), None) or _built(folder, run)
        wanted = f"twinport{extras} @ {wheel.as_uri()}"
        install = (uv, "pip", "install", "--python", self._python)
        run(*install, "-c", LIBRARY / "requirements.lock", wanted, cwd=folder)
        run(uv, "pip", "check", "--python", self._python, cwd=folder)
        self._config.mkdir()
        (self._config / "default.toml").write_text(CONFIG)
        (self._config / "development.toml").touch()
        (self._config / "shown.toml").write_text('tea.steep = "3m"\n')
        (self._config / "key.pem").write_text(KEY)

    def done(self, *arguments: str) -> tuple[int, str, str]:
        """Run a program; return its status and what it wrote."""
        done = subprocess.run(
            (self._python, *arguments),
            cwd=PROGRAMS,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def refused(self, *chosen: str) -> str:
        """Return the one line with which the service does not start."""
        status, _, err = self.done(*self._run(chosen))
        assert status == 1
        (line,) = err.splitlines()
        return line

    @contextmanager
    def serving(self, *chosen: str) -> Iterator[dict[str, str]]:
        """Yield the URLs of the service, which then has to end with 0."""
        with Running((self._python, *self._run(chosen)), PROGRAMS) as service:
            ports = service.ports()._asdict()
            yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
            assert service.stop() == 0
        assert len(service.output) == len(service.lines), "a warning is no record of the log"

    def _run(self, chosen: tuple[str, ...]) -> list[str]:
        sets = [f"--set={each}" for each in chosen]
        return ["-m", "tea", "run", "--config", str(self._config), *sets]

    @property
    def key(self) -> Path:
        return self._config / "key.pem"

    @property
    def config(self) -> str:
        return str(self._config)


def _built(folder: Path, run: Any) -> Path:
    target = folder.parent / "wheel"
    run(TOOLS / "uv", "build", "--wheel", "--out-dir", target, LIBRARY, cwd=folder)
    return next(target.glob("*.whl"))


def asked(url: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urlopen(Request(url, method=method), timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extras")


@pytest.fixture
def installed(request: pytest.FixtureRequest, folders: Path, run: Any) -> Installed:
    folder = folders / (request.param.strip("[]") or "base")
    folder.mkdir()
    return Installed(folder, run, request.param)


def having(extras: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("installed", [extras], ids=[extras or "base"], indirect=True)


@having("")
def test_the_base_calls_is_configured_logs_and_traces(installed: Installed):
    status, out, err = installed.done("caller.py", installed.config)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["message"] for line in lines if line["log.logger"] == "__main__"] == [
        "180 s",
        "no such tea",
        "no such tea",
        "no server",
    ]
    _, _, err = installed.done("-c", "from twinport import Service")
    assert "twinport.Service needs twinport[server]: " in err.splitlines()[-1]


@having("[server]")
def test_the_server_serves_and_says_what_it_lacks(installed: Installed):
    with installed.serving() as urls:
        assert asked(f"{urls['http']}/tea") == (200, '"assam"')
        status, body = asked(f"{urls['management']}/profile?seconds=0.1", "POST")
        assert (status, json.loads(body)["code"]) == (501, "UNIMPLEMENTED")
        assert "twinport[profile]" in json.loads(body)["detail"]
    for server in ("uvicorn", "granian"):
        line = installed.refused(f"http.server={server}")
        assert line.startswith(f'tea: http.server = "{server}" needs twinport[{server}]: ')
    assert "twinport[jwt]" in installed.refused(*tokens(installed))


def tokens(installed: Installed) -> list[str]:
    return [
        "auth.mode=jwt",
        "auth.issuer=https://issuer.example",
        "auth.audience=tea",
        f"auth.keys={installed.key}",
    ]


@having("[server,jwt]")
def test_tokens_are_asked_for_with_their_extra(installed: Installed):
    with installed.serving(*tokens(installed)) as urls:
        assert asked(f"{urls['http']}/tea")[0] == 401


@having("[server,profile]")
def test_a_profile_is_taken_with_its_extra(installed: Installed):
    with installed.serving() as urls:
        assert asked(f"{urls['management']}/profile?seconds=0.1", "POST")[0] == 200


@having("[server,uvicorn]")
def test_uvicorn_serves_with_its_extra(installed: Installed):
    with installed.serving("http.server=uvicorn") as urls:
        assert asked(f"{urls['http']}/tea") == (200, '"assam"')


@having("[server,granian]")
def test_granian_serves_with_its_extra(installed: Installed):
    with installed.serving("http.server=granian") as urls:
        assert asked(f"{urls['http']}/tea") == (200, '"assam"')
