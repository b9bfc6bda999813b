"""A service whose handlers have children: python parenting.py run --set ..."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import time
from typing import NoReturn

from sample.settings import Settings
from twinport import Service, cli
from twinport.service.process import run

FORK = multiprocessing.get_context("fork")


async def build(service: Service, settings: Settings) -> None:
    @service.rest.get("/process")
    def process() -> int | None:
        child = FORK.Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(10)
        return child.exitcode

    @service.rest.get("/pool")
    def pool() -> list[int]:
        with FORK.Pool(2) as workers:  # whose end terminates them
            return workers.map(abs, range(4))

    @service.rest.get("/fork")
    def fork() -> int:
        begun, begin = os.pipe()
        child = os.fork() or live(begin)
        os.read(begun, 1)
        return child

    @service.rest.get("/wait/{child}")
    def wait(child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    add_subprocesses(service)


def live(begin: int) -> NoReturn:
    os.write(begin, b"1")
    time.sleep(60)
    os._exit(0)


def add_subprocesses(service: Service) -> None:
    @service.rest.get("/subprocess")
    def plain() -> int:
        child = subprocess.Popen(["sleep", "60"])
        child.terminate()
        return child.wait(10)

    @service.rest.get("/subprocess/async")
    async def of_the_loop() -> int:
        child = await asyncio.create_subprocess_exec("sleep", "60")
        child.terminate()
        return await child.wait()


if __name__ == "__main__":
    sys.exit(cli.main(Settings, lambda settings: run(settings, build)))
