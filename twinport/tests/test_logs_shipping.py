import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from twinport import logs
from twinport.errors import StartupError
from twinport.logs import Logs, LogsSettings, bounded_queue, logging_to
from twinport.logs.bounded_queue import BoundedQueue, Bounds, Losses, Then, UndeliveredError
from twinport.logs.collectors import DiskQueue
from twinport.settings import Identity

from support.log_collectors import Collector

IDENTITY = Identity(name="tea", version="1", environment="test", instance="pod-1")
COUNT = 300
PATIENCE_S = 20
ATTEMPTS = 1100  # 2 to the power of that is larger than any float


@pytest.fixture(params=["beats", "http", "tcp"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def collector(protocol: str) -> Iterator[Collector]:
    collector = Collector(protocol)
    collector.start()
    yield collector
    collector.stop()


def sink_for(protocol: str, port: int, **more: Any) -> dict[str, Any]:
    if protocol == "http":
        return {"kind": "http", "url": f"http://127.0.0.1:{port}/", **more}
    return {"kind": "logstash", "host": "127.0.0.1", "port": port, "protocol": protocol, **more}


def shipping(protocol: str, port: int, **more: Any) -> AbstractContextManager[Logs]:
    sinks = {"console": {"enabled": False}, "away": sink_for(protocol, port, **more)}
    return logging_to(LogsSettings.model_validate({"sinks": sinks}), IDENTITY)


def log(name: str) -> set[str]:
    messages = [f"{name} {number}" for number in range(COUNT)]
    for message in messages:
        logger.info("{}", message)
    return {*messages}


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_what_is_logged_while_the_collector_is_away_arrives_when_it_is_back(
    collector: Collector, protocol: str, where: str, tmp_path: Path
) -> None:
    more = {"queue_dir": tmp_path} if where == "disk" else {}
    with shipping(protocol, collector.port, **more) as logs:
        expected = log("before")
        assert collector.await_messages(expected)
        collector.stop()
        expected |= log("away")
        logs.flush(0.2)
        collector.start()
        assert collector.await_messages(expected)
        assert logs.dropped() == {"away": 0}
    arrived = list(dict.fromkeys(collector.messages()))  # some twice: at least once is promised
    assert arrived == sorted(arrived, key=order)


def order(message: str) -> tuple[bool, int]:
    name, number = message.split()
    return name == "away", int(number)


@pytest.mark.parametrize("protocol", ["beats", "http"], indirect=True)
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_what_a_stopped_collector_had_not_acknowledged_is_sent_again(
    collector: Collector, protocol: str, where: str, tmp_path: Path
) -> None:
    more = {"queue_dir": tmp_path} if where == "disk" else {}
    with shipping(protocol, collector.port, **more) as logs:
        collector.is_awake.clear()
        began = time.monotonic()
        expected = log("slow")
        assert time.monotonic() - began < PATIENCE_S / 2  # nobody waits for the collector
        assert collector.asked.acquire(timeout=PATIENCE_S)
        collector.stop()
        collector.is_awake.set()
        collector.start()
        assert collector.await_messages(expected)
        assert logs.dropped() == {"away": 0}


@pytest.mark.parametrize("protocol", ["tcp"], indirect=True)
def test_plain_tcp_goes_on_after_a_restart_though_lines_under_way_may_be_lost(
    collector: Collector, protocol: str
) -> None:
    with shipping(protocol, collector.port):
        collector.is_awake.clear()
        log("lost")
        assert collector.asked.acquire(timeout=PATIENCE_S)
        collector.stop()
        collector.is_awake.set()
        collector.start()
        assert collector.await_messages(log("after"))


def test_a_full_queue_drops_what_is_new_and_counts_it(collector: Collector, protocol: str) -> None:
    collector.stop()
    with shipping(protocol, collector.port, queue_size="16KiB") as logs:
        log("first")
        dropped = logs.dropped()["away"]
        collector.start()
        assert collector.await_count(COUNT - dropped)
    assert 0 < dropped == COUNT - len(collector.lines)


class Finalised:
    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def __del__(self) -> None:
        self._end()


class KeepsNewest(BoundedQueue[object]):
    def _overflow(self) -> object:
        return self._items.popleft()


def test_a_finaliser_that_logs_while_a_line_is_queued_holds_nobody() -> None:
    is_sending, released = threading.Event(), threading.Event()

    def send(_batch: Sequence[object]) -> None:
        is_sending.set()
        released.wait()

    def put() -> None:
        queue.put("under way")
        is_sending.wait()
        for _ in range(3):
            queue.put(Finalised(lambda: queue.put("last words")))

    queue = KeepsNewest("away", send, Bounds(2), Losses("logs", "lines", "away", print), None)
    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    released.set()
    queue.close()


def test_flush_does_not_wait_for_a_collector_that_is_away(
    collector: Collector, protocol: str
) -> None:
    collector.stop()
    with shipping(protocol, collector.port) as logs:
        log("first")
        began = time.monotonic()
        assert not logs.flush(10)
        assert time.monotonic() - began < 5


def test_what_is_on_disk_outlives_the_process(
    collector: Collector, protocol: str, tmp_path: Path
) -> None:
    collector.stop()
    settings = {"sinks": {"away": sink_for(protocol, collector.port, queue_dir=str(tmp_path))}}
    code = f"""
import os, signal
from loguru import logger
from {logs.__name__} import LogsSettings, logging_to
from {Identity.__module__} import Identity
with logging_to(LogsSettings.model_validate({settings!r}), Identity(name="tea")) as logs:
    for number in range({COUNT}):
        logger.info("killed " + str(number))
    assert logs.flush(10)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert killed.returncode == -9
    collector.start()
    with shipping(protocol, collector.port, queue_dir=tmp_path):
        assert collector.await_messages({f"killed {number}" for number in range(COUNT)})


@pytest.mark.parametrize("protocol", ["beats"], indirect=True)
def test_a_folder_that_another_process_queues_in_is_refused(
    collector: Collector, protocol: str, tmp_path: Path
) -> None:
    with shipping(protocol, collector.port, queue_dir=tmp_path):
        second = shipping(protocol, collector.port, queue_dir=tmp_path)
        with pytest.raises(StartupError, match=r"^logs\.sinks\.away\.queue_dir: .*locked"):
            second.__enter__()


@pytest.mark.parametrize("protocol", ["beats"], indirect=True)
def test_a_disk_that_fails_for_a_moment_holds_up_what_waits_on_it(
    collector: Collector, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, take = iter([sqlite3.OperationalError("disk I/O error")]), DiskQueue._take

    def failing(queue: DiskQueue, most: int) -> Sequence[bytes]:
        for error in failures:
            raise error
        return take(queue, most)

    monkeypatch.setattr(DiskQueue, "_take", failing)
    with shipping(protocol, collector.port, queue_dir=tmp_path):
        assert collector.await_messages(log("kept"))


def test_a_disk_that_takes_a_line_no_more_takes_the_next_ones(tmp_path: Path) -> None:
    arrived: list[bytes] = []
    losses = Losses("logs", "lines", "disk", print)
    queue = DiskQueue("away", arrived.extend, 1000, losses, tmp_path)
    queue._database.execute(
        "CREATE TRIGGER bad BEFORE INSERT ON lines WHEN NEW.line = X'626164'"
        " BEGIN SELECT RAISE(FAIL, 'disk I/O error'); END"
    )
    for line in (b"bad", b"good"):
        queue.put(line)
        assert queue._incoming.flush(PATIENCE_S)
    assert queue.flush(PATIENCE_S)
    queue.close()
    assert (arrived, losses.dropped) == ([b"good"], 1)


def test_a_collector_that_was_away_for_hours_gets_what_was_kept_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_queue, "LONGEST_PAUSE_S", 0.0)
    failures, has_arrived = iter(range(ATTEMPTS)), threading.Event()

    def send(_batch: Sequence[bytes]) -> None:
        for _ in failures:
            raise UndeliveredError("away", Then.RETRY)
        has_arrived.set()

    queue = BoundedQueue("away", send, Bounds(1000), Losses("logs", "lines", "away", print))
    queue.put(b"kept")
    assert has_arrived.wait(PATIENCE_S)
    queue.close()


@pytest.mark.parametrize("protocol", ["http"], indirect=True)
def test_a_batch_that_is_too_large_is_sent_in_parts(collector: Collector, protocol: str) -> None:
    collector.refusal, collector.most = 413, 10
    with shipping(protocol, collector.port) as logs:
        expected = log("first")
        assert collector.await_messages(expected)
        assert logs.flush(PATIENCE_S)
        assert logs.dropped() == {"away": 0}
    assert sorted(collector.messages(), key=order) == collector.messages()


@pytest.mark.parametrize("refusal", [400, 413, 415, 422])
@pytest.mark.parametrize("protocol", ["http"], indirect=True)
def test_a_line_that_is_refused_for_good_does_not_hold_the_others(
    collector: Collector, protocol: str, refusal: int
) -> None:
    collector.refusal = refusal
    collector.refuse = lambda line: line["message"] == "first 7"
    with shipping(protocol, collector.port) as logs:
        expected = log("first") - {"first 7"}
        assert collector.await_messages(expected)
        assert logs.flush(PATIENCE_S)
        assert logs.dropped() == {"away": 1}


@pytest.mark.parametrize("protocol", ["http"], indirect=True)
def test_a_sink_in_trouble_is_said_once_on_the_others_and_what_is_lost_at_the_end(
    collector: Collector, protocol: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    collector.stop()
    path = tmp_path / "tea.log"
    sinks = {
        "file": {"kind": "file", "path": path, "format": "text"},
        "console": {"format": "text"},
        "away": sink_for(protocol, collector.port),
    }
    with logging_to(LogsSettings.model_validate({"sinks": sinks}), IDENTITY) as logs:
        for number in range(5):
            logging.getLogger("lib").info("line %s", number)
            logs.flush(1)
    for text in (capfd.readouterr().err, path.read_text()):
        first, last = (line for line in text.splitlines() if " logs: " in line)
        assert "sink away: " in first
        assert "Connection refused" in first
        assert last.endswith("logs: 5 lines did not reach sink away")
