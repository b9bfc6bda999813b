"""The command line, as a process: what it prints, and its exit status."""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

import sample as service
from sample.settings import Settings
from twinport import cli
from twinport.errors import StartupError

from support.places import SAMPLE

ROOT = SAMPLE
NAME = service.__name__
PROGRAM = NAME.replace("_", "-")
PREFIX = NAME.upper()
ENVIRONMENTS = sorted({path.stem for path in (ROOT / "config").glob("*.toml")} - {"default"})


class Done(NamedTuple):
    """What a command has left behind."""

    status: int
    out: str
    err: str


Order = Callable[..., Done]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a copy of the service's own settings."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def order(folder: Path, capsys: pytest.CaptureFixture[str]) -> Order:
    def order(*arguments: str) -> Done:
        try:
            status = cli.main(Settings, lambda settings: 0, arguments=arguments)
        except SystemExit as error:  # argparse
            status = int(str(error.code))
        return Done(status, *capsys.readouterr())

    return order


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", NAME, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_process_ends_with_the_status_of_its_command(folder):
    done = process("config", "check")
    assert (done.returncode, done.stderr) == (0, "")
    wrong = process("run", "--set", "http.port=x")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "--set: http.port: must be a valid integer\n"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_settings_of_every_environment_are_right(order, environment):
    checked = order("config", "check", "--env", environment)
    assert checked.status == 0
    assert all(line.startswith(f"{PROGRAM}: warning: ") for line in checked.err.splitlines())


def test_every_mistake_is_a_line_of_its_own_and_the_status_is_2(order, folder, monkeypatch):
    (folder / "config/production.toml").write_text("[grpc]\nport = 70000\nprot = 1\n")
    monkeypatch.setenv(f"{PREFIX}_ENV", "production")
    monkeypatch.setenv(f"{PREFIX}__HTTP__PORT", "x")
    checked = order("config", "check")
    assert (checked.status, checked.out) == (2, "")
    assert checked.err.splitlines() == [
        "config/production.toml:3: grpc.prot: unknown key; did you mean grpc.port?",
        f"{PREFIX}__HTTP__PORT: http.port: must be a valid integer",
        "config/production.toml:2: grpc.port: must be less than or equal to 65535",
    ]


USAGE = [(), ("config",), ("serve",), ("run", "--prot", "1"), ("run", "--conf", "x"), ("run", "x")]


@pytest.mark.parametrize("arguments", USAGE)
def test_a_wrong_command_line_ends_with_status_2(order, arguments):
    done = order(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"usage: {PROGRAM}")


def test_the_versions_of_the_service_and_of_the_library_are_told(order):
    done = order("--version")
    library = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]["version"]
    assert done == (0, f"{PROGRAM} {metadata.version(NAME)} (twinport {library})\n", "")


def test_a_wrong_command_line_is_not_repeated_as_it_may_hold_a_secret(order):
    done = order("run", "--set", "http.host", "=", "hunter2", "--token=hunter2")
    assert done.status == 2
    assert "hunter2" not in done.err
    assert "--token" in done.err


def test_a_service_that_cannot_start_says_why_in_one_line(folder, capsys):
    def run(settings: Settings) -> int:
        raise StartupError(f"http.port: {settings.http.port}\nis taken")

    assert cli.main(Settings, run, arguments=["run", "--set", "http.port=8081"]) == 1
    assert capsys.readouterr().err == f"{PROGRAM}: http.port: 8081 is taken\n"


def test_a_service_can_bring_a_command_of_its_own(folder, capsys):
    def greet(invocation: cli.Invocation) -> int:
        print(invocation.arguments.greeting, invocation.load().settings.service.environment)
        return 7

    def greeting(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("greeting")

    command = cli.Command("greet", "say hello", greet, greeting)
    arguments = ["greet", "hello", "--env", "production"]
    assert cli.main(Settings, lambda settings: 0, [command], arguments) == 7
    assert capsys.readouterr().out == "hello production\n"


def test_the_settings_in_force_are_shown_with_their_origins(order):
    shown = order("config", "show", "--env", "production", "--set", "grpc.port=1")
    assert (shown.status, shown.err) == (0, "")
    lines = {line.split(" ")[0]: line for line in shown.out.splitlines()}
    assert lines["grpc.port"].endswith("# --set")
    assert "# config/production.toml:" in lines["traces.sample_ratio"]
    assert lines["lifecycle.grace"].endswith("# default")
    assert lines["grpc.port"].startswith("grpc.port = 1 ")  # and not `true`, which is equal to it
    assert lines["lifecycle.grace"].startswith('lifecycle.grace = "15s" ')


def test_the_settings_in_force_can_be_read_by_programs(order, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}__GRPC__PORT", "1")
    values = json.loads(order("config", "show", "--json").out)
    assert values["grpc.port"] == {"value": 1, "origin": f"{PREFIX}__GRPC__PORT"}
    assert values["service.environment"]["value"] == "development"


def test_settings_are_read_from_the_folder_that_is_named(order, folder):
    (folder / "config").rename(folder / "elsewhere")
    assert order("config", "check", "--config", "elsewhere").status == 0
    missing = order("config", "check")
    assert missing.status == 2
    assert missing.err.startswith("config/default.toml: No such file or directory\n")


def test_a_folder_of_secrets_can_be_named(order, folder, monkeypatch):
    (folder / "secrets").mkdir()
    (folder / "secrets/http__port").write_text("x")
    checked = order("config", "check", "--secrets", "secrets")
    assert checked.err == "secrets/http__port: http.port: must be a valid integer\n"
    monkeypatch.setenv(f"{PREFIX}_SECRETS", "secrets")
    assert order("config", "check").err == checked.err


@pytest.mark.parametrize("what", ["schema", "reference"])
def test_what_describes_the_settings_needs_no_files(order, folder, what):
    shutil.rmtree(folder / "config")
    printed = order("config", what)
    assert (printed.status, printed.err) == (0, "")
    assert "lifecycle" in printed.out


def test_an_output_that_takes_nothing_ends_in_one_line(folder):
    command = [sys.executable, "-m", NAME, "config", "show"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{PROGRAM}: cannot write the output: No space left on device\n"


TALKATIVE = f"""
import asyncio, os, signal, sys
from contextlib import suppress
from {NAME}.settings import Settings
from twinport import main
async def build(service, settings):
    for stream in (sys.stdout, sys.__stderr__):
        with suppress(OSError, AttributeError):
            stream.write("of the service's own")
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
sys.exit(main(Settings, build))
"""
HERE = ["http.port=0", "grpc.port=0", "management.port=0", "lifecycle.drain=0s"]
QUIET = ["run", *(f"--set={chosen}" for chosen in HERE)]
LOUD = [*QUIET, "--set=traces.exporter=console"]
NO_HOST, NO_SETTING = ["run", "--set=http.host=192.0.2.1"], ["run", "--set=no.such=1"]


@pytest.mark.parametrize(
    ("outputs", "arguments", "status"),
    [
        (">/dev/full", LOUD, 0),
        (">/dev/full", NO_HOST, 1),
        ("2>/dev/full", QUIET, 0),
        ("2>/dev/full", NO_HOST, 1),
        ("2>/dev/full", NO_SETTING, 2),
        (">/dev/full 2>&1", LOUD, 0),
        (">/dev/full 2>&1", NO_SETTING, 2),
        (">&- 2>&-", LOUD, 0),
        (">&- 2>&-", NO_HOST, 1),
    ],
)
def test_an_output_that_takes_nothing_leaves_the_exit_status_alone(
    folder, outputs, arguments, status
):
    command = shlex.join([sys.executable, "-c", TALKATIVE, *arguments])
    done = subprocess.run(["sh", "-c", f"{command} {outputs}"], capture_output=True, check=False)
    assert done.returncode == status, done.stderr


def test_an_output_that_is_closed_is_no_mistake(folder):
    closed = f"{shlex.quote(sys.executable)} -m {NAME} config show >&-"
    done = subprocess.run(["sh", "-c", closed], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_early_sees_no_traceback(folder):
    command = [sys.executable, "-m", NAME, "config", "reference"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        assert started.stdout
        started.stdout.close()
        assert started.stderr
        assert started.stderr.read() == b""
