import gzip
import json
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from twinport.errors import StartupError
from twinport.logs import Logs, LogsSettings, logging_to
from twinport.logs.file_sink import STAMP
from twinport.settings import Identity

PATIENCE_S = 20


def logs_into(path: Path, **more: Any) -> AbstractContextManager[Logs]:
    sinks = {"console": {"enabled": False}, "file": {"kind": "file", "path": path, **more}}
    return logging_to(LogsSettings.model_validate({"sinks": sinks}), Identity(name="tea"))


def until(holds: Callable[[], bool]) -> bool:
    """Wait for what another thread does to files, which tells nobody."""
    ticks = threading.Event()
    return any(holds() or ticks.wait(0.01) for _ in range(PATIENCE_S * 100))


def test_a_file_grows_from_one_start_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tea.log"
    for number in range(2):
        with logs_into(path):
            logger.info("start {}", number)
    messages = [json.loads(line)["message"] for line in path.read_text().splitlines()]
    assert messages == ["start 0", "start 1"]
    assert path.stat().st_mode & 0o007 == 0  # not for everybody


def test_a_large_file_is_set_aside_and_compressed_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "tea.log"
    with logs_into(path, rotate_size="4KiB") as logs:
        for number in range(50):
            logger.info("line {}", number)
            assert logs.flush(PATIENCE_S)
        assert until(lambda: not list(tmp_path.glob("tea.*.log")))
    packed = sorted(tmp_path.glob("tea.*.log.gz"))
    assert len(packed) > 3
    text = b"".join(gzip.decompress(file.read_bytes()) for file in packed) + path.read_bytes()
    messages = [json.loads(line)["message"] for line in text.splitlines()]
    assert messages == [f"line {number}" for number in range(50)]
    assert all(len(gzip.decompress(file.read_bytes())) <= 4096 for file in packed)


def test_a_file_of_an_earlier_day_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "tea.log"
    path.write_text("yesterday\n")
    yesterday = datetime.now(UTC).timestamp() - 86_400
    os.utime(path, (yesterday, yesterday))
    with logs_into(path, compress=False, format="text"):
        logger.info("today")
    (aside,) = tmp_path.glob("tea.*.log")
    assert aside.read_text() == "yesterday\n"
    assert "yesterday" not in path.read_text()


def test_files_older_than_the_days_to_keep_are_deleted_and_no_others(tmp_path: Path) -> None:
    names = [set_aside(tmp_path, days) for days in (13.9, 14.1, 30)]
    names_of_others = ["notes", *(f"2026-13-32T{number}" for number in range(9))]
    foreign = [tmp_path / f"tea.{name}.log.gz" for name in names_of_others]
    for path in foreign:
        path.touch()
    with logs_into(tmp_path / "tea.log"):
        assert until(lambda: not (names[1].exists() or names[2].exists()))
    assert names[0].exists()
    assert all(path.exists() for path in foreign)


def set_aside(folder: Path, days: float) -> Path:
    stamp = (datetime.now(UTC) - timedelta(days=days)).strftime(STAMP)
    path = folder / f"tea.{stamp}.log.gz"
    path.touch()
    return path


def test_a_file_that_somebody_moved_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "tea.log"
    with logs_into(path) as logs:
        logger.info("first")
        assert logs.flush(PATIENCE_S)
        path.rename(tmp_path / "taken")
        logger.info("second")
    assert "first" in (tmp_path / "taken").read_text()
    assert "second" in path.read_text()


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    with logs_into(Path("/dev/full")) as logs:
        logger.info("no room")
        logs.flush(PATIENCE_S)
        assert logs.dropped()["file"] >= 1  # the line that says so has no room either


def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "tea.log"
    path.mkdir()
    with pytest.raises(StartupError, match=r"^logs\.sinks\.file\.path: .*Is a directory"):
        logs_into(path).__enter__()
