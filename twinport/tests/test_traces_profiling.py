"""Looking into a running process, with a real loop, real threads and a real signal."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from loguru import logger

from twinport.errors import AlreadyExistsError
from twinport.lifecycle import hearing
from twinport.profiling import log_stacks_apart, profile, watching


class Lines(list[str]):
    """What is logged, from whatever thread."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def write(self, line: str) -> None:
        self.append(line)
        self.came.set()

    def with_(self, text: str) -> list[str]:
        """Return some of them: others may tell of a machine that stood still."""
        return [line for line in self if text in line]


@pytest.fixture
def lines() -> Iterator[Lines]:
    sink = logger.add(lines := Lines(), format="{message}")
    yield lines
    logger.remove(sink)


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def spin_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < until


async def busy() -> None:
    while True:
        spin(0.005)
        await asyncio.sleep(0.005)  # or the thread that writes the profile hardly gets its turn


async def test_a_profile_shows_what_other_tasks_do():
    task = asyncio.create_task(busy(), name="busy")
    taken = await profile(0.3)
    task.cancel()
    assert "<html" in taken.html.lower()
    frames = {frame["name"] for frame in json.loads(taken.speedscope)["shared"]["frames"]}
    assert {"busy", "spin"} <= frames


async def test_one_profile_at_a_time():
    first = asyncio.create_task(profile(0.1))
    await asyncio.sleep(0.01)
    with pytest.raises(AlreadyExistsError):
        await profile(0.1)
    assert (await first).html


async def deepest(waiting: asyncio.Event) -> None:
    await waiting.wait()


async def middle(waiting: asyncio.Event) -> None:
    await deepest(waiting)


async def test_a_signal_logs_where_each_task_and_thread_is(lines):
    waiting = asyncio.Event()
    task = asyncio.create_task(middle(waiting), name="some-work")
    await asyncio.sleep(0)
    with hearing() as signals:
        signals.on(signal.SIGUSR1, partial(log_stacks_apart, asyncio.get_running_loop()))
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await asyncio.to_thread(lines.came.wait, 5)
    (line,) = lines
    told = line[line.index("task some-work") :]
    assert told.index("in middle") < told.index("in deepest") < told.index("in wait")
    assert "thread MainThread" in line
    waiting.set()
    await task


async def test_a_signal_works_while_something_blocks_the_loop(lines):
    with hearing() as signals:
        signals.on(signal.SIGUSR1, partial(log_stacks_apart, asyncio.get_running_loop()))
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        spin_until(lines.came.is_set)
    assert "in spin_until" in lines[0]


async def test_what_blocks_the_loop_is_logged_once_with_its_stack(lines):
    with watching(asyncio.get_running_loop(), limit_s=0.2):
        await asyncio.sleep(0.1)
        spin_until(lambda: lines.with_("in spin"))
        spin(0.5)
        await asyncio.sleep(0.1)
    (line,) = lines.with_("in spin")
    assert "blocked, for 0.2 s" in line


async def test_what_blocks_the_loop_for_a_moment_is_no_news(lines):
    with watching(asyncio.get_running_loop(), limit_s=5):
        await asyncio.sleep(0.1)
        spin(0.3)
        await asyncio.sleep(0.1)
    assert lines == []


async def test_native_code_that_blocks_everything_is_logged_too(lines):
    with watching(asyncio.get_running_loop(), limit_s=0.2):
        await asyncio.sleep(0.1)
        sum(range(30_000_000))
        await asyncio.sleep(0.1)
    assert lines.with_("blocked")  # with its stack, or without: whoever gets its turn first


async def test_the_watch_ends_with_its_block():
    with watching(asyncio.get_running_loop()):
        thread = next(t for t in threading.enumerate() if t.name == "loop-watch")
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
