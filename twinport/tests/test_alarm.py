"""One timer for all who wait: each is woken at its own time, and only if it still waits."""

import asyncio
import math

import pytest

from twinport.calls import EARLY_S, STEP_S, Alarm

LATE_S = 5.0  # what a busy machine may add


class Sleeper:
    def __init__(self) -> None:
        self.woken_at: list[float] = []
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.woken_at.append(asyncio.get_running_loop().time())
        self.woken.set()


async def woken(sleeper: Sleeper) -> float:
    async with asyncio.timeout(20):
        await sleeper.woken.wait()
    return sleeper.woken_at[-1]


@pytest.mark.parametrize("waits", [(0.03, 0.06), (0.06, 0.03)], ids=["later", "sooner"])
async def test_each_is_woken_at_its_own_time_whoever_came_first(waits: tuple[float, ...]):
    alarm, now = Alarm(), asyncio.get_running_loop().time()
    sleepers = [Sleeper() for _ in waits]
    for sleeper, wait in zip(sleepers, waits, strict=True):
        alarm.set(sleeper, now + wait)
    for sleeper, wait in zip(sleepers, waits, strict=True):
        assert now + wait - EARLY_S <= await woken(sleeper) < now + wait + STEP_S + LATE_S


async def test_who_is_done_sleeps_for_ever_or_has_another_time_is_not_woken_then():
    alarm, now = Alarm(), asyncio.get_running_loop().time()
    done, endless, moved, last = (Sleeper() for _ in range(4))
    for sleeper in (done, endless, moved):
        alarm.set(sleeper, now + 0.01)
    alarm.unset(done)
    alarm.set(endless, math.inf)
    alarm.set(moved, now + 0.05)
    alarm.set(last, now + 0.1)
    await woken(last)
    assert (done.woken_at, endless.woken_at, len(moved.woken_at)) == ([], [], 1)
    assert moved.woken_at[0] >= now + 0.05 - EARLY_S


async def test_a_thousand_who_wait_are_each_woken_once():
    alarm, now = Alarm(), asyncio.get_running_loop().time()
    sleepers = [Sleeper() for _ in range(1000)]
    for number, sleeper in enumerate(sleepers):
        alarm.set(sleeper, now + 0.01 + number * 1e-5)  # within three steps
    await woken(sleepers[-1])
    assert [len(sleeper.woken_at) for sleeper in sleepers] == [1] * len(sleepers)


async def test_the_alarm_can_be_set_again_after_all_have_been_woken():
    alarm, sleeper = Alarm(), Sleeper()
    for _ in range(2):
        sleeper.woken.clear()
        alarm.set(sleeper, asyncio.get_running_loop().time() + 0.01)
        await woken(sleeper)
    assert len(sleeper.woken_at) == 2
