"""What an order costs where it is kept in a database, beside its statements alone, 16 at once."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from asks import create, new
from atload import AT_ONCE, CORES, INTO_FILE, Effort, Load, Sample, Served, on_core, sampled, warmed
from running import started
from tables import Part, table
from variants import SERVERS_OF_OTHERS, Variant, environment

from tests.stores.servers import Postgresql
from twinport.testing import free_port

SERVICE = Path(__file__).parents[1] / ".build/bench/sql/order-book"
PYTHON = str(SERVICE / ".venv/bin/python")
SERVER, TALK = "hypercorn", "h2"
HEAD = ("CPU of a call, us", "the statements alone", "**ours**", "a second, alone", "**ours**")


def stores(effort: Effort) -> Iterator[Part]:
    """Create orders and get one, in SQLite and PostgreSQL; raises BenchError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        folder.chmod(0o711)  # for the user of the server
        (folder / "server").mkdir()
        server = Postgresql(folder / "server")
        server.start()
        stack.callback(server.stop)
        urls = {"SQLite": f"sqlite:///{folder / 'orders.db'}", "PostgreSQL": server.url}
        yield table("stores", HEAD, [row for each in urls.items() for row in _rows(*each, effort)])


def _rows(name: str, url: str, effort: Effort) -> Iterator[Sequence[str]]:
    """Return a row for each kind of call, both ways taken in turns."""
    migrate = [PYTHON, "-m", "order_book", "migrate", f"--set=database.url={url}"]
    subprocess.run(migrate, cwd=SERVICE, env=environment(), check=True, capture_output=True)
    with _alone(url) as alone, _served(url) as served:
        asks = {"create": new(), "get": create(TALK, served.port)}
        for kind, ask in asks.items():
            load = warmed(Load(served, ask, AT_ONCE[TALK]), effort)
            alone(kind, load.calls)
            rounds = [(alone(kind, load.calls), sampled(load)) for _ in range(effort.rounds)]
            yield [f"{name}, {kind}", *_told(*zip(*rounds, strict=True))]


def _told(alone: Sequence[Sample], ours: Sequence[Sample]) -> list[str]:
    cpu = [median(each.cpu for each in samples) for samples in (alone, ours)]
    rate = [median(each.rate for each in samples) for samples in (alone, ours)]
    return [f"{cpu[0]:.0f}", f"**{cpu[1]:.0f}**", f"{rate[0]:.0f}", f"**{rate[1]:.0f}**"]


@contextmanager
def _alone(url: str) -> Iterator[Callable[[str, int], Sample]]:
    """Yield what makes so many calls of a kind by the store's statements alone."""
    command = [*on_core(CORES[0]), PYTHON, str(SERVERS_OF_OTHERS / "statements.py"), url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=SERVICE, env=environment(), **pipes) as process:

        def taken(kind: str, calls: int) -> Sample:
            process.stdin.write(f"{kind} {calls}\n")
            process.stdin.flush()
            return Sample(*json.loads(process.stdout.readline()))

        yield taken
        process.stdin.close()


@contextmanager
def _served(url: str) -> Iterator[Served]:
    """Keep a service with that database running; raises BenchError."""
    settings = (("database.url", url), ("database.shared", "false"))
    port, ours = free_port(), Variant("ours", SERVER, settings=settings)
    words = [*on_core(CORES[0]), *INTO_FILE, PYTHON, *ours.command(port)]
    with (
        TemporaryDirectory() as folder,
        started(ours.name, words, SERVICE, port, {"BENCH_OUTPUT": folder}) as process,
    ):
        yield Served(process, TALK, port)
