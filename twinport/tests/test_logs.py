import asyncio
import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from loguru import logger

from twinport.calls import Call, current
from twinport.logs import Logs, LogsSettings, logging_to
from twinport.settings import Identity

IDENTITY = Identity(name="tea", version="1.2.3", environment="test", instance="pod-1")
TOO_FEW = "%s and %s"
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"

Start = Callable[..., AbstractContextManager[Logs]]
Lines = Callable[[], Sequence[dict[str, Any]]]


def logs_to(**settings: Any) -> AbstractContextManager[Logs]:
    return logging_to(LogsSettings.model_validate(settings), IDENTITY)


def http_call(status: int = 200, code: str = "OK") -> Call:
    call = Call("http", TRACE_ID, SPAN_ID)
    call.method, call.path, call.route = "GET", "/v1/orders/7", "/v1/orders/{order_id}"
    call.status, call.code, call.peer, call.duration_ns = status, code, "10.0.0.1:4711", 1_500_000
    return call


def grpc_call(code: str = "OK") -> Call:
    call = Call("grpc", TRACE_ID, SPAN_ID)
    call.method, call.code = "tea.orders.v1.OrderService/GetOrder", code
    call.peer, call.duration_ns = "[::1]:4711", 1_500_000
    return call


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    return lambda: [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_a_line_has_the_fields_of_the_elastic_common_schema(lines: Lines) -> None:
    with logs_to():
        logger.bind(sku="tea", **{"shelf.row": 7}).info("{} left", 3)
    (line,) = lines()
    assert list(line)[:3] == ["@timestamp", "log.level", "message"]
    assert (line["log.level"], line["message"]) == ("info", "3 left")
    assert line["labels"] == {"sku": "tea", "shelf_row": 7}
    assert line["service.name"] == "tea"
    assert line["service.node.name"] == "pod-1"


def test_a_line_of_a_call_has_the_ids_of_its_trace(lines: Lines) -> None:
    with logs_to():
        token = current.set(http_call())
        logger.info("in a call")
        current.reset(token)
        logger.info("outside")
    inside, outside = lines()
    assert (inside["trace.id"], inside["span.id"]) == (TRACE_ID, SPAN_ID)
    assert "trace.id" not in outside


def test_a_call_leaves_one_line_with_the_same_fields_on_both_transports(lines: Lines) -> None:
    with logs_to() as logs:
        logs.access(http_call())
        logs.access(grpc_call())
    http, grpc = lines()
    assert {key for key in http if key not in grpc} == {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.path",
    }
    assert http["event.action"] == "GET /v1/orders/{order_id}"
    assert grpc["event.action"] == "tea.orders.v1.OrderService/GetOrder"
    assert http["event.duration"] == grpc["event.duration"] == 1_500_000
    assert (http["client.address"], grpc["client.address"]) == ("10.0.0.1", "::1")


def test_nothing_that_a_caller_chooses_breaks_the_line(lines: Lines) -> None:
    odd = 'a"b\\c\n\x00\udc80'
    calls = [http_call(), grpc_call()]
    for call in calls:
        call.path = call.method = call.request_id = call.user_agent = call.peer = odd
        call.route, call.principal = None, odd
    with logs_to() as logs:
        for call in calls:
            logs.access(call)
    for line in lines():
        assert line["user_agent.original"] == line["user.name"] == odd.replace("\udc80", "\\udc80")
        assert line["http.request.id"] == line["client.address"] == line["user.name"]


def test_the_line_of_a_refused_call_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    refused = [http_call(403, "PERMISSION_DENIED"), grpc_call("PERMISSION_DENIED")]
    for call in refused:
        call.reason = 'it needs "a"'
    for form in ("json", "text"):
        with logs_to(sinks={"console": {"format": form}}) as logs:
            logs.access(refused[0])
            logs.access(refused[1])
    written = capfd.readouterr().err.splitlines()
    assert [json.loads(line)["event.reason"] for line in written[:2]] == ['it needs "a"'] * 2
    assert ['reason=it needs "a"' in line for line in written[2:]] == [True] * 2


def test_only_what_somebody_has_to_mend_is_an_error(lines: Lines) -> None:
    codes = ["OK", "NOT_FOUND", "CANCELLED", "UNAVAILABLE", "INTERNAL"]
    with logs_to() as logs:
        for code in codes:
            logs.access(grpc_call(code))
    assert [line["log.level"] for line in lines()] == ["info", "info", "info", "warning", "error"]


def test_the_standard_library_and_warnings_come_through(lines: Lines) -> None:
    with logs_to():
        logging.getLogger("lib.part").info("%s in {braces}", 5, extra={"k": 1})
        logging.getLogger("lib.part").debug("too fine")
        logging.getLogger("lib.part").log(logging.INFO, TOO_FEW, "only one argument")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    first, second, third = lines()
    assert (first["message"], first["log.logger"]) == ("5 in {braces}", "lib.part")
    assert first["labels"] == {"k": 1}
    assert second["message"].startswith("%s and %s")
    assert third["message"] == "DeprecationWarning: old"


@pytest.mark.parametrize(("level", "expected"), [("INFO", []), ("DEBUG", ["debug"])])
def test_a_line_for_each_request_of_an_http_client_is_for_debugging(
    lines: Lines, level: str, expected: list[str]
) -> None:
    with logs_to(level=level):
        logging.getLogger("httpx2").info('HTTP Request: GET http://tea/ "HTTP/1.1 200 OK"')
    assert [line["log.level"] for line in lines()] == expected


def test_an_exception_in_a_thread_comes_through(lines: Lines) -> None:
    with logs_to():
        thread = threading.Thread(target=int, args=("tea",))
        thread.start()
        thread.join()
    (line,) = lines()
    assert (line["log.level"], line["error.type"]) == ("critical", "ValueError")
    assert "Traceback" in line["error.stack_trace"]


def test_the_nearest_level_counts(lines: Lines) -> None:
    levels = {"lib": "ERROR", "lib.part": "DEBUG", "access": "WARNING"}
    with logs_to(level="WARNING", levels=levels) as logs:
        logging.getLogger("lib").warning("no")
        logging.getLogger("lib.part.deep").debug("yes")
        logging.getLogger("library").warning("yes too")
        logs.access(http_call())
    assert [line["message"] for line in lines()] == ["yes", "yes too"]


def test_a_level_can_be_changed_while_the_service_runs(lines: Lines) -> None:
    with logs_to() as logs:
        logs.set_level("lib", "DEBUG")
        logging.getLogger("lib.part").debug("now")
        assert logs.levels() == {"": "INFO", "lib": "DEBUG"}
        logs.set_level("lib", None)
        logging.getLogger("lib.part").debug("no more")
    assert [line["message"] for line in lines()] == ["now"]


def test_a_level_goes_back_by_itself_after_its_time(lines: Lines) -> None:
    with logs_to() as logs:
        logs.set_level("", "DEBUG", for_s=60)
        logs.set_level("lib", "DEBUG", for_s=0.05)
        ticks = threading.Event()
        assert any(logs.levels() == {"": "DEBUG"} or ticks.wait(0.01) for _ in range(1000))
        logging.getLogger("lib").debug("still")
        logs.set_level("", None)
        logging.getLogger("lib").debug("no more")
    assert [line["message"] for line in lines()] == ["still"]


def test_an_unknown_level_is_refused() -> None:
    loud: Any = "LOUD"
    with logs_to() as logs, pytest.raises(ValueError, match="LOUD"):
        logs.set_level("lib", loud)


def test_people_read_aligned_text_in_which_nobody_can_forge_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with logs_to(sinks={"console": {"format": "text"}}):
        logger.bind(sku="tea").warning("first\nINFO forged \x1b[2J")
        logger.info("second")
    first, second = capfd.readouterr().err.splitlines()
    assert first.index("first") == second.index("second")
    assert first.endswith(r"first\x0aINFO forged \x1b[2J  sku=tea")


async def fail() -> None:
    raise ValueError("no tea")


def test_people_see_the_frames_of_libraries_counted_and_programs_all_of_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    program = {"kind": "console", "stream": "stdout", "format": "json"}
    with logs_to(sinks={"console": {"format": "text"}, "program": program}):
        try:
            asyncio.run(fail())
        except ValueError:
            logger.exception("failed")
    written = capfd.readouterr()
    told = re.sub(r"line \d+|\d+ frames", "#", written.err).splitlines()
    assert "      … # of libraries" in told
    assert told[-1] == "    ValueError: no tea"
    assert "runners.py" not in written.err
    assert "runners.py" in json.loads(written.out)["error.stack_trace"]


THROUGH = "def through(then, frames):\n    through(then, frames - 1) if frames > 1 else then()"


def raise_error() -> None:
    raise ValueError("no tea")


@pytest.mark.parametrize(("package", "shown"), [("fastapi", 0), ("twinport", 0), ("order_book", 3)])
def test_the_frames_of_an_installed_service_are_no_library_ones(
    capfd: pytest.CaptureFixture[str], package: str, shown: int
) -> None:
    file = f"/app/lib/python3.11/site-packages/{package}/through.py"
    exec(compile(THROUGH, file, "exec"), installed := {})
    settings = LogsSettings.model_validate({"sinks": {"console": {"format": "text"}}})
    with logging_to(settings, IDENTITY, "order_book"):
        try:
            installed["through"](raise_error, 3)
        except ValueError:
            logger.exception("failed")
    assert capfd.readouterr().err.count(file) == shown


def test_the_frame_of_a_library_that_raises_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with logs_to(sinks={"console": {"format": "text"}}):
        try:
            json.loads("{")
        except ValueError:
            logger.exception("failed")
    assert "in raw_decode" in capfd.readouterr().err


def test_after_the_end_lines_go_to_what_stderr_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    then, later = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", then)
    with logging_to(LogsSettings(), Identity(name="tea")):
        pass
    then.close()
    monkeypatch.setattr(sys, "stderr", later)
    logger.warning("kettle")
    assert "kettle" in later.getvalue()
    assert "Traceback" not in later.getvalue()
