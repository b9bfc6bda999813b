"""The files in config/: right for every environment."""

import sys
from pathlib import Path

import pytest

from {{ cookiecutter.__package }}.__main__ import main

HOME = Path(__file__).parents[1]
FILES = {path.stem for path in HOME.glob("config/*.toml")}


@pytest.mark.parametrize("environment", sorted(FILES - {"default"}))
def test_the_settings_of_each_environment_are_right(
    environment: str, required: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    sets = [f"--set={name}={value}" for name, value in required.items()]
    command = ["", "config", "check", "--env", environment, *sets]
    monkeypatch.chdir(HOME)
    monkeypatch.setattr(sys, "argv", command)
    assert main() == 0  # else what is wrong was printed


def test_there_is_an_environment_for_development_and_one_for_production():
    assert {"default", "development", "production"} <= FILES
