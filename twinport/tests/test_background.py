"""Tasks beside the calls: endless ones, those that may end, and those that begin anew."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from loguru import logger

from sample.settings import Settings
from twinport import Service
from twinport.errors import StartupError
from twinport.lifecycle import Background, Stop, stop as stopping


class Flaky:
    """Fails, or ends, so many times; then it returns, or runs until it is cancelled."""

    def __init__(self, fails: int, *, raises: bool = True, returns: bool = False) -> None:
        self.left, self.raises, self.returns = fails, raises, returns
        self.well = asyncio.Event()

    async def __call__(self) -> None:
        if self.left:
            self.left -= 1
            if self.raises:
                raise ConnectionError("no broker")
            return
        self.well.set()
        if not self.returns:
            await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(stopping, "LONGEST_PAUSE_S", 0.004)


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    lines: list[Any] = []
    sink = logger.add(lambda line: lines.append(line.record), level="INFO")
    yield lines
    logger.remove(sink)


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def background(stop: Stop) -> Background:
    return Background(stop)


async def done(name: str) -> None:
    """Wait until a task has ended, and what follows from that is done."""
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == name)
    await asyncio.wait([task])
    await asyncio.sleep(0)


async def ends() -> None: ...


async def fails() -> None:
    raise ConnectionError("no broker")


ONE_OFF = {"once": True, "restart": False}
ENDLESS = {"once": False, "restart": False}


async def test_a_one_off_may_end(stop, background):
    background.spawn("warm", ends, **ONE_OFF)
    await done("warm")
    assert (stop.asked.is_set(), stop.failure) == (False, None)


FATAL = [
    (ends, ENDLESS, "'job' ended by itself"),
    (fails, ENDLESS, "'job' died: ConnectionError"),
    (fails, ONE_OFF, "'job' died: ConnectionError"),
]


@pytest.mark.parametrize(("work", "kind", "why"), FATAL)
async def test_what_must_not_end_or_fail_stops_the_service(stop, background, work, kind, why):
    background.spawn("job", work, **kind)
    await stop.asked.wait()
    assert stop.failure == f"background task {why}"


@pytest.mark.parametrize("raises", [True, False])
async def test_a_restarted_task_begins_anew_after_growing_pauses(stop, background, logged, raises):
    work = Flaky(4, raises=raises)
    background.spawn("poll", work, once=False, restart=True)
    await work.well.wait()
    how = "failed" if raises else "ended by itself"
    said = [f"background task 'poll' {how}, begins anew in 0.00{n} s" for n in (1, 2, 4, 4)]
    assert [line["message"] for line in logged] == said
    assert {line["level"].name for line in logged} == {"ERROR"}
    tracebacks = [line["exception"] for line in logged]
    assert [each.type if each else None for each in tracebacks] == [
        ConnectionError if raises else None
    ] * 4
    assert (background.restarts, background.running()) == ({"poll": 4}, ["poll"])
    await background.end("poll")
    assert (background.running(), stop.failure) == ([], None)


async def test_a_restarted_task_that_ran_well_for_long_is_restarted_soon(
    background, logged, monkeypatch
):
    times = iter([0.0, 0.0, 0.0, 0.0, 0.0, 100.0, 100.0])
    monkeypatch.setattr(stopping, "time", SimpleNamespace(monotonic=lambda: next(times)))
    work = Flaky(3)
    background.spawn("poll", work, once=False, restart=True)
    await work.well.wait()
    pauses = [line["message"].rpartition(" in ")[2] for line in logged]
    assert pauses == ["0.001 s", "0.002 s", "0.001 s"]
    await background.end("poll")


async def test_a_restarted_one_off_is_done_when_it_has_returned_once(stop, background, logged):
    background.spawn("warm", Flaky(2, returns=True), once=True, restart=True)
    await done("warm")
    assert (background.restarts, len(logged), stop.failure) == ({"warm": 2}, 2, None)


async def test_one_name_is_one_task(background):
    background.spawn("job", asyncio.Event().wait, **ENDLESS)
    with pytest.raises(StartupError, match="'job' is spawned twice"):
        background.spawn("job", ends, **ONE_OFF)
    await background.end("job")


async def test_a_service_serves_on_beside_tasks_that_end_and_fail(serving, settings):
    work, warmed = Flaky(3), Flaky(0, returns=True)

    async def built(service: Service, settings: Settings) -> None:
        service.spawn("poll", work, restart=True)
        service.spawn("warm", warmed, once=True)

    async with serving(settings, built) as ports:
        await work.well.wait()
        await warmed.well.wait()
        async with httpx2.AsyncClient() as http:
            text = (await http.get(f"http://127.0.0.1:{ports.management}/metrics")).text
    assert 'background_restarts_total{task="poll"} 3.0' in text
