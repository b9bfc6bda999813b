"""A Redis for tests: started in a folder of its own, where `redis-server` is installed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as AwayError
from redis.retry import Retry

COMMAND = shutil.which("redis-server") or ""
NOWHERE = "unix:///nowhere/redis.sock"
PATIENCE_S, STEP_S = 30, 0.05


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Yield the URL of a Redis that keeps what it takes; of none where it is not installed."""
    if not COMMAND:
        yield NOWHERE
        return
    socket = folder / "redis.sock"
    lasting = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    place = ("--port", "0", "--unixsocket", str(socket), "--dir", str(folder))
    log = (folder / "redis.log").open("w")
    with log, subprocess.Popen([COMMAND, *place, *lasting], stdout=log) as process:
        try:
            client(f"unix://{socket}").ping()
            yield f"unix://{socket}"
        finally:
            process.terminate()


def client(url: str) -> Redis:
    """Return a client that waits for a server which is starting."""
    waits = Retry(ConstantBackoff(STEP_S), round(PATIENCE_S / STEP_S))
    return Redis.from_url(url, retry=waits, retry_on_error=[AwayError, FileNotFoundError])
