"""Two replicas on one store, under load, while what can go wrong does."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

from tests.stores.fleet import Load, Replica, is_right, migrate
from tests.stores.servers import Postgresql, Redis, Server

pytestmark = pytest.mark.stores

QUIET_S = 2.0
AWAY_S = 10.0
SILENT_CALLS = 2  # one after the other, so that the second ones have met nothing but silence
KINDS = {"postgresql": (Postgresql, "sql"), "redis": (Redis, "redis")}


class Fleet(NamedTuple):
    server: Server
    replicas: list[Replica]
    service: Path


@pytest.fixture(scope="module", params=KINDS)
def fleet(
    request: pytest.FixtureRequest,
    services: dict[str, Path],
) -> Iterator[Fleet]:
    kind, store = KINDS[request.param]
    service = services[store]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=store)))
        folder.chmod(0o711)  # for the user of the server; those of pytest are for nobody else
        server = kind(folder)
        server.start()
        stack.callback(server.stop)
        if store == "sql":
            migrate(service, server.url)
        replicas = [Replica(service, server.url) for _ in range(2)]
        for replica in replicas:
            stack.callback(replica.stop)
        for replica in replicas:
            replica.ready()
        yield Fleet(server, replicas, service)


def quiet(_fleet: Fleet, _load: Load) -> None:
    """Nothing happens."""


def a_replica_is_killed_and_starts_again(fleet: Fleet, _load: Load) -> None:
    fleet.replicas[1].kill()
    time.sleep(QUIET_S)
    fleet.replicas[1].start()
    fleet.replicas[1].ready()


def the_store_restarts(fleet: Fleet, _load: Load) -> None:
    fleet.server.stop()
    fleet.server.start()


def the_store_is_away(fleet: Fleet, load: Load) -> None:
    fleet.server.stop()
    began = time.monotonic()
    load.calls_end()
    time.sleep(max(0, began + AWAY_S - time.monotonic()))
    fleet.server.start()


def the_store_is_silent(fleet: Fleet, load: Load) -> None:
    """Until all calls have ended without it: none hangs longer than its deadline."""
    fleet.server.signal(signal.SIGSTOP)
    try:
        for _ in range(SILENT_CALLS):
            load.calls_end()
    finally:
        fleet.server.signal(signal.SIGCONT)


EVENTS = [
    quiet,
    a_replica_is_killed_and_starts_again,
    the_store_restarts,
    the_store_is_away,
    the_store_is_silent,
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_was_answered_is_kept_once_and_every_watch_sees_it(
    fleet: Fleet, event: Callable[[Fleet, Load], None]
):
    with Load(fleet.service, fleet.replicas) as load:
        time.sleep(QUIET_S)
        event(fleet, load)
        time.sleep(QUIET_S)
        result = load.ended()
    print(f"\n{type(fleet.server).__name__}, {event.__name__}: {json.dumps(result)}")
    is_right(result)


def test_a_file_of_sqlite_keeps_what_was_answered_when_its_service_is_killed(
    services: dict[str, Path], tmp_path: Path
):
    times = int(os.environ.get("KILLS", "5"))
    url = f"sqlite:///{tmp_path / 'orders.db'}"
    migrate(services["sql"], url)
    replica = Replica(services["sql"], url)
    replica.ready()
    with Load(services["sql"], [replica]) as load:
        for _ in range(times):
            time.sleep(QUIET_S / 4)
            replica.kill()
            replica.start()
            replica.ready()
        time.sleep(QUIET_S)
        result = load.ended()
    replica.stop()
    print(f"\nSQLite, killed {times} times: {json.dumps(result)}")
    is_right(result)
