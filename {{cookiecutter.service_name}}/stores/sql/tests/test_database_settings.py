"""What [database] may say."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from {{ cookiecutter.__package }}.__main__ import main
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings

HOME = Path(__file__).parents[1]
SQLITE, POSTGRESQL = "sqlite:///data/service.db", "postgresql://tea@shop/orders"


@pytest.fixture
def check(
    required: dict[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """Checks the settings of production; returns the exit status and the mistakes it named."""

    others = {key: value for key, value in required.items() if not key.startswith("database.")}

    def check(*sets: str) -> tuple[int, list[str]]:
        told = [f"--set={key}={value}" for key, value in others.items()]
        command = ["", "config", "check", "--env", "production", *told, *sets]
        monkeypatch.chdir(HOME)
        monkeypatch.setattr(sys, "argv", command)
        status = main()
        said = capsys.readouterr().err.splitlines()
        return status, [line for line in said if ": warning: " not in line]

    return check


def test_what_replicas_share_is_no_file():
    assert DatabaseSettings(url=SecretStr(POSTGRESQL), shared=True).shared
    with pytest.raises(ValidationError, match="replicas do not share"):
        DatabaseSettings(url=SecretStr(SQLITE), shared=True)


@pytest.mark.parametrize("sets", [(), (f"--set=database.url={SQLITE}",)], ids=["default", "set"])
def test_production_refuses_a_file_of_sqlite_in_one_line(check, sets: tuple[str, ...]):
    status, [line] = check(*sets)
    assert status == 2
    assert re.match(r"config/production\.toml:\d+: database\.shared: ", line)
    assert "postgresql://" in line


def test_production_takes_a_file_of_sqlite_where_a_setting_says_that_there_is_one_replica(check):
    assert check(f"--set=database.url={SQLITE}", "--set=database.shared=false") == (0, [])
    assert check(f"--set=database.url={POSTGRESQL}") == (0, [])


def test_systemd_keeps_a_file_of_sqlite_for_its_one_replica(check, monkeypatch):
    units = [*HOME.glob("deploy/systemd/*.service")]
    if not units:
        pytest.skip("it is not deployed so")
    told = re.findall(r"^Environment=(\w+)=(.*)$", units[0].read_text("utf-8"), re.MULTILINE)
    for name, value in told:
        monkeypatch.setenv(name, value)
    assert check() == (0, [])
