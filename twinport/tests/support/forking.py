"""Programs that cost a fork instead of all their imports; each is a process of its own.

Tests call `forked`. Its other end, `python forking.py SOCKET MODULE ...`, has imported the modules
and forks for each request. It has no threads, so that this is safe, and ends when the tests do.
"""

import asyncio
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

OURS = ("sample.app", "twinport.clients.call_command")
IMPORTED = (*OURS, "pydantic.v1", "uvloop")  # and what FastAPI imports late
REQUEST_BYTES = 1 << 20


class Forked:
    """A started program, with what tests need of asyncio's Process."""

    def __init__(self, pid: int, out: asyncio.StreamReader, end: asyncio.StreamReader) -> None:
        self.pid, self.stdout = pid, out
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._ended(end))

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def _ended(self, end: asyncio.StreamReader) -> int:
        self.returncode = os.waitstatus_to_exitcode(int(await end.read()))
        return self.returncode


async def forked(
    arguments: Sequence[str], cwd: Path, env: Mapping[str, str], stderr: int | None = None
) -> Forked:
    """Run `python ARGUMENTS`, `-m MODULE ...` or `FILE ...`; `stderr` is a file, else as stdout."""
    (out, to_out), (end, to_end) = os.pipe(), os.pipe()
    request = json.dumps([str(cwd), dict(env), list(arguments)]).encode()
    socket.send_fds(_forking(), [request], [to_out, to_out if stderr is None else stderr, to_end])
    os.close(to_out)
    os.close(to_end)
    told = await _reader(end)
    return Forked(int(await told.readline()), await _reader(out), told)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader


@cache  # one for all tests of this process
def _forking() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *IMPORTED],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            process_group=0,  # Ctrl-C is for the tests, which then end it
        )
    return ours


class Request(NamedTuple):
    """What to run; `files` are its stdout, its stderr and where to tell of its start and end."""

    cwd: str
    env: dict[str, str]
    arguments: list[str]
    files: list[int]


def main(descriptor: str, *modules: str) -> None:
    for module in modules:
        import_module(module)
    gc.freeze()  # at its end a fork does not search what it has in common with this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    with socket.socket(fileno=int(descriptor)) as requests:
        request = received(requests)
        while request and os.fork():
            close(request.files)
            request = received(requests)
    if request:
        watch(request)
        run(request)


def received(requests: socket.socket) -> Request | None:
    text, files, *_ = socket.recv_fds(requests, REQUEST_BYTES, 3)
    return Request(*json.loads(text), files) if text else None


def close(files: Sequence[int]) -> None:
    for each in files:
        os.close(each)


def watch(request: Request) -> None:
    """Fork once more, return in the child, and tell of it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        return
    *outputs, told = request.files
    close(outputs)  # or they never end
    os.write(told, f"{pid}\n".encode())
    os.write(told, str(os.waitpid(pid, 0)[1]).encode())
    os._exit(0)


def run(request: Request) -> None:
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    for number, file in enumerate(request.files[:2], start=1):
        os.dup2(file, number)
    close(request.files)
    program, *sys.argv[1:] = request.arguments
    if program == "-m":
        runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
