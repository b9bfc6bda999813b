"""Signals of this process, of which the event loop follows some of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

from twinport import lifecycle
from twinport.lifecycle import hearing

TWICE = f"""
import time
from {lifecycle.__name__} import LastResort
last_resort = LastResort("service", lambda: "calls", lambda limit_s: "")
last_resort.arm(1)
last_resort.arm(600)
time.sleep(600)
"""


async def test_signals_that_the_loop_follows_reach_it_and_take_none_away():
    heard, by_loop, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()
    with hearing() as signals:
        signals.on(signal.SIGUSR2, heard.set)
        loop.add_signal_handler(signal.SIGUSR1, by_loop.set)  # takes the wakeup descriptor
        os.kill(os.getpid(), signal.SIGUSR2)
        assert await asyncio.to_thread(heard.wait, 5)
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(20):
            await by_loop.wait()
        loop.remove_signal_handler(signal.SIGUSR1)


async def test_handlers_are_afterwards_what_they_were():
    before = signal.getsignal(signal.SIGUSR2)
    with hearing() as signals:
        signals.on(signal.SIGUSR2, int)
        assert signal.getsignal(signal.SIGUSR2) != before
    assert signal.getsignal(signal.SIGUSR2) == before


def test_the_last_resort_is_not_put_off():
    ended = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, check=False, timeout=30
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "service: did not stop in time, still running: calls\n"
