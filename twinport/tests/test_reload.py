"""SIGHUP, sent to the service as a process of its own."""

import shutil
import signal
from pathlib import Path

import httpx2
import pytest

from twinport.testing import FakeZipkin

from support.process import HOME, Service, started

WRONG = """[logs.levels]
access = 'INFO'
[traces]
sample_ratio = 7.0
[grpc]
prot = 1
"""
ORDER = {"sku": "tea", "quantity": 1}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return a folder of settings, to be changed while the service runs."""
    folder = tmp_path / "config"
    shutil.copytree(HOME / "config", folder)
    (folder / "development.toml").write_text("", encoding="utf-8")
    return folder


def say(config: Path, text: str) -> None:
    (config / "development.toml").write_text(text, encoding="utf-8")


async def hung_up(service: Service, expected: str) -> str:
    """Send SIGHUP and return what is then said."""
    service.process.send_signal(signal.SIGHUP)
    message: str = (await service.logged(f"SIGHUP: {expected}"))["message"]
    return message


async def order(service: Service) -> None:
    async with httpx2.AsyncClient() as http:
        ports = await service.ports()
        answer = await http.post(f"http://127.0.0.1:{ports.http}/v1/orders", json=ORDER)
    assert answer.status_code == 201


def access_lines(service: Service) -> int:
    return sum(line["log.logger"] == "access" for line in service.lines)


async def test_log_levels_follow_the_files(config):
    say(config, "[logs.levels]\naccess = 'OFF'\n")
    async with started(config=config) as service:
        await order(service)
        say(config, "[logs.levels]\naccess = 'INFO'\n")
        assert await hung_up(service, "applied") == "SIGHUP: applied: logs.levels.access"
        await order(service)
        await service.logged("POST /v1/orders")
        assert access_lines(service) == 1


async def test_the_sampling_ratio_follows_the_files(config):
    say(config, "[traces]\nsample_ratio = 0.0\n")
    with FakeZipkin() as collector:
        chosen = {"traces__exporter": "zipkin", "traces__endpoint": collector.endpoint}
        async with started(config=config, **chosen) as service:
            await order(service)
            say(config, "[traces]\nsample_ratio = 1.0\n")
            assert await hung_up(service, "applied") == "SIGHUP: applied: traces.sample_ratio"
            await order(service)
            spans = collector.wait_for_count(1)
            service.terminate()
            assert await service.exit_status() == 0
        assert [span["kind"] for span in spans if "parentId" not in span] == ["SERVER"]


async def test_a_second_change_is_compared_with_the_first(config):
    async with started(config=config) as service:
        await service.ports()
        say(config, "[logs]\nlevel = 'DEBUG'\n")
        assert await hung_up(service, "applied") == "SIGHUP: applied: logs.level"
        say(config, "[calls]\nmax_concurrent = 7\n")
        await hung_up(service, "needs a restart")
        told = [line["message"] for line in service.lines if "applied" in line["message"]]
        assert told == ["SIGHUP: applied: logs.level"] * 2


async def test_a_change_that_is_not_valid_is_refused_in_one_line(config):
    say(config, "[logs.levels]\naccess = 'OFF'\n")
    async with started(config=config) as service:
        await service.ports()
        say(config, WRONG)
        message = await hung_up(service, "settings kept")
        assert "traces.sample_ratio" in message
        assert "grpc.prot" in message
        assert "development.toml:4" in message
        await order(service)
        assert access_lines(service) == 0
        service.terminate()
        assert await service.exit_status() == 0
        assert len([line for line in service.lines if "SIGHUP" in line["message"]]) == 1


async def test_what_needs_a_restart_is_named(config):
    async with started(config=config) as service:
        await service.ports()
        say(config, "[calls]\nmax_concurrent = 7\n[orders]\npage_size = 7\n")
        message = await hung_up(service, "needs a restart")
        assert message == "SIGHUP: needs a restart: calls.max_concurrent, orders.page_size"
        assert (await service.logged("SIGHUP: applied"))["message"] == "SIGHUP: applied: nothing"
