"""The sinks go on getting lines, whoever sets up loguru or `logging` anew in the service."""

import configparser
import io
import json
import logging
import logging.config
import threading
from collections.abc import Callable
from typing import Any

import pytest
from loguru import logger

from twinport.logs import LogsSettings, logging_to
from twinport.logs.logs import Levels
from twinport.settings import Identity

INI = """
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys =
[logger_root]
level = ERROR
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stdout,)
"""


def by_file() -> None:
    config = configparser.RawConfigParser()
    config.read_file(io.StringIO(INI))
    logging.config.fileConfig(config, disable_existing_loggers=False)


def by_dictionary() -> None:
    handler = {"class": "logging.NullHandler"}
    root = {"level": "ERROR", "handlers": ["none"]}
    parts = {"handlers": {"none": handler}, "root": root}
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **parts})


def by_hand() -> None:
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)


def by_assignment() -> None:
    logging.getLogger().handlers = []


def by_removal() -> None:
    logger.remove()


def by_clearing() -> None:
    logging.getLogger().handlers.clear()


TAKEN_AWAY: list[Callable[[], object]] = [
    by_file,
    by_dictionary,
    lambda: logging.basicConfig(force=True, level="ERROR", stream=io.StringIO()),
    by_hand,
    by_assignment,
    by_clearing,
    lambda: logging.getLogger().setLevel("ERROR"),
    lambda: logging.disable(logging.NOTSET),
    by_removal,
    lambda: logger.bind(sku="tea").remove(),
    lambda: logger.configure(handlers=[]),
    lambda: logger.configure(handlers=[{"sink": io.StringIO(), "level": "ERROR"}]),
]
Lines = Callable[[], list[str]]


@pytest.fixture
def messages(capfd: pytest.CaptureFixture[str]) -> Lines:
    return lambda: [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]


def logs_to(**settings: Any) -> Any:
    return logging_to(LogsSettings.model_validate(settings), Identity(name="tea"))


def say() -> None:
    logger.info("by loguru")
    logging.getLogger("lib").info("by logging")


@pytest.mark.parametrize("take_away", TAKEN_AWAY)
def test_lines_reach_the_sinks_whoever_takes_the_handlers_away(
    take_away: Callable[[], object], messages: Lines
) -> None:
    root = logging.getLogger()
    before = root.__class__, root.handlers, root.level
    with logs_to() as logs:
        take_away()
        say()
        take_away()
        logs.set_level("", "DEBUG")
        logger.debug("fine, by loguru")
        logging.getLogger("lib").debug("fine, by logging")
    said = ["by loguru", "by logging", "fine, by loguru", "fine, by logging"]
    assert [message for message in messages() if "takes away" not in message] == said
    assert (root.__class__, root.handlers, root.level) == before


def test_a_level_that_goes_back_by_itself_does_so_without_a_handler_of_loguru(
    messages: Lines,
) -> None:
    failures: list[object] = []
    before, threading.excepthook = threading.excepthook, failures.append
    with logs_to() as logs:
        threading.excepthook = failures.append
        logs.set_level("", "DEBUG", for_s=0.05)
        logger.remove()
        ticks = threading.Event()
        assert any(logs.levels() == {"": "INFO"} or ticks.wait(0.01) for _ in range(1000))
        logs.follow(LogsSettings.model_validate({"level": "TRACE"}))  # as SIGHUP does
        logger.trace("finest")
    threading.excepthook = before
    assert (messages(), failures) == (["finest"], [])


def test_of_two_levels_set_at_once_the_later_one_counts(
    messages: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowest, found, told = Levels.lowest, threading.Event(), threading.Event()

    def told_late(levels: Levels) -> int:
        number = lowest(levels)
        if threading.current_thread() is not threading.main_thread():
            found.set()
            told.wait(0.2)
        return number

    monkeypatch.setattr(Levels, "lowest", told_late)
    with logs_to() as logs:
        earlier = threading.Thread(target=logs.set_level, args=("", None))
        earlier.start()
        found.wait()
        logs.follow(LogsSettings.model_validate({"level": "TRACE"}))
        told.set()
        earlier.join()
        logger.trace("finest")
    assert messages() == ["finest"]


def test_a_handler_that_was_removed_unseen_is_replaced_with_the_level(messages: Lines) -> None:
    unseen = logger.remove
    with logs_to() as logs:
        unseen()
        logs.set_level("", "DEBUG")
        logger.debug("again")
    assert messages() == ["again"]


def test_handlers_that_somebody_adds_get_their_lines_too(messages: Lines) -> None:
    theirs = io.StringIO()
    with logs_to():
        logging.getLogger().handlers = [logging.StreamHandler(theirs)]
        logging.getLogger("lib").info("for both")
    kept, both = messages()
    assert kept.startswith(f"{__file__}:")
    assert both == "for both"
    assert "for both" in theirs.getvalue()


def test_a_service_within_a_service_gives_the_log_back(messages: Lines) -> None:
    with logs_to():
        with logs_to(sinks={"console": {"enabled": False}}):
            logging.getLogger("lib").info("to nobody")
        logger.remove()
        say()
    assert messages() == ["by loguru", "by logging"]
