"""Whatever leaves the process leaves it without secrets: every way out is opened and read."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from hypothesis import given, settings, strategies as st
from loguru import logger
from pydantic import field_validator

from sample.orders.domain import Orders
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import OrderServiceStub
from twinport import Settings, cli
from twinport.calls import Call
from twinport.errors import FieldViolation, InvalidArgumentError, NotFoundError, StartupError
from twinport.faults import details, problem
from twinport.logs import Logs, LogsSettings, logging_to
from twinport.management.app import loggers_response
from twinport.profiling import log_stacks
from twinport.settings import Identity, Section
from twinport.settings.reference import as_json, as_text
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings, span, tracing

from support.log_collectors import Collector as LogCollector
from support.places import SAMPLE
from support.sample_settings import Folder, Settings as Sample
from support.secret_shapes import FIELDS, HEAD, TEXTS, leaks

WAYS = 40  # examples; each goes to every sink
IDENTITY = Identity(name="tea", environment="production")
hooked: list[Mapping[str, Any]] = []


def to_list() -> Callable[[Mapping[str, Any]], None]:
    hooked.clear()
    return hooked.append


@pytest.fixture(autouse=True)
def _importable(monkeypatch, request):
    monkeypatch.setitem(sys.modules, __name__, request.module)


@contextmanager
def all_sinks(folder: Path, *collectors: LogCollector) -> Iterator[Logs]:
    beats, tcp, http = (collector.port for collector in collectors)
    here = {"kind": "logstash", "host": "127.0.0.1"}
    sinks = {
        "console": {"format": "json"},
        "people": {"kind": "console", "format": "text"},
        "file": {"kind": "file", "path": str(folder / "tea.log")},
        "beats": {**here, "port": beats, "protocol": "beats"},
        "tcp": {**here, "port": tcp, "protocol": "tcp"},
        "http": {"kind": "http", "url": f"http://127.0.0.1:{http}/"},
        "hook": {"kind": "hook", "callable": f"{__name__}:to_list"},
    }
    with logging_to(LogsSettings.model_validate({"sinks": sinks}), IDENTITY) as logs:
        yield logs


def test_no_sink_of_the_log_gets_a_secret(capfd, tmp_path):
    collectors = [LogCollector(protocol) for protocol in ("beats", "tcp", "http")]

    with ExitStack() as stack:
        for collector in collectors:
            collector.start()
            stack.callback(collector.stop)
        logs = stack.enter_context(all_sinks(tmp_path, *collectors))
        settings(max_examples=WAYS)(given(st.just(logs), TEXTS, FIELDS)(log))()
        logger.info("the last")
        assert all(collector.await_messages({"the last"}) for collector in collectors)
        assert logs.flush(20)
    sent = [json.dumps(collector.lines) for collector in collectors]
    told = [capfd.readouterr().err, (tmp_path / "tea.log").read_text(), repr(hooked), *sent]
    for each in told:
        assert leaks(each) == []
        assert each.count("[redacted]") > WAYS


def log(logs: Logs, text: str, fields: dict[str, Any]) -> None:
    """Log the secret in whatever way there is."""
    logger.info("{}", text)
    logger.bind(told=text, more=fields).info("bound")
    logging.getLogger("lib").info("%s %r", fields, text, extra={"more": fields})
    asyncio.run(dumped(text))
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
    logs.access(call_of(text))


async def dumped(text: str) -> None:
    """Log all stacks, as SIGUSR1 does, with a task of that name."""
    task = asyncio.create_task(asyncio.sleep(0), name=text)
    log_stacks(asyncio.get_running_loop())
    await task


def call_of(text: str) -> Call:
    call = Call("http", "a" * 32, "b" * 16)
    call.method, call.path, call.status, call.user_agent = "GET", f"/{text}", 200, text
    call.request_id = text
    return call


def test_no_span_has_a_secret():
    @settings(max_examples=WAYS)
    @given(TEXTS, FIELDS)
    def trace_it(text, fields):
        with (
            suppress(ValueError),
            span(text, told=text, **{"http.url": text}) as traced,
        ):
            traced.add_event(text, {"told": text, "fields": str(fields)})
            raise ValueError(text)

    with FakeZipkin() as collector:
        with tracing(TracesSettings(endpoint=collector.endpoint), IDENTITY) as spans:
            trace_it()
            asyncio.run(spans.close(20))
        assert len(collector.spans) >= WAYS
    assert leaks(json.dumps(collector.spans)) == []


class Endpoint(Section):
    """Where something is."""

    url: str = ""
    """URL."""
    headers: tuple[tuple[str, ...], ...] = ()
    """Pairs."""
    card: int = 0
    """Number."""
    checked: str = ""
    """Refused, unless it is empty."""

    @field_validator("checked")
    @classmethod
    def _refuse(cls, checked: str) -> str:
        raise ValueError(f"cannot use {checked}")


class Shop(Sample):
    """A service."""

    endpoint: Endpoint = Endpoint()
    """Where something is."""


SETTABLE = TEXTS.filter(lambda text: "\0" not in text and text.isprintable())


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_no_setting_is_shown_with_a_secret(folder):
    @settings(max_examples=WAYS)
    @given(SETTABLE)
    def show(text):
        folder.write("development", f"[endpoint]\nurl = {json.dumps(text, ensure_ascii=False)}")
        loaded = folder.load(Shop)
        assert loaded.settings.endpoint.url == text
        assert leaks(as_text(loaded) + as_json(loaded)) == []

    show()


def test_no_mistake_in_a_setting_shows_a_secret(folder):
    @settings(max_examples=WAYS)
    @given(SETTABLE)
    def mistake(text):
        folder.write("development", f"[endpoint]\nchecked = {json.dumps(text, ensure_ascii=False)}")
        (line,) = folder.mistakes(Shop)
        assert "endpoint.checked: " in line
        assert leaks(line) == []

    mistake()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ('url = "http://h/p?sig=S"', 'endpoint.url = "http://h/p?sig=[redacted]"'),
        ('url = "http://a:b@h/p?session_id=S"', '"http://[redacted]@h/p?session_id=[redacted]"'),
        ("card = 4111111111111111", 'endpoint.card = "[redacted]"'),
        (
            'headers = [["authorization", "Token S"], ["a", "b"]]',
            'endpoint.headers = [["authorization", "[redacted]"], ["a", "b"]]',
        ),
    ],
)
def test_a_setting_is_shown_as_far_as_it_is_no_secret(folder, said, expected):
    folder.write("development", f"[endpoint]\n{said}")
    assert expected in as_text(folder.load(Shop))


@pytest.mark.parametrize("is_json", [False, True])
def test_names_and_patterns_of_the_settings_are_masked_where_these_are_shown(is_json, tmp_path):
    folder = Folder(tmp_path)
    redact = '[logs.redact]\nkeys = ["iban"]\npatterns = ["DE[0-9]+"]\n'
    said = '[clients.bank]\nurl = "http://h/DE4711?iban=S1&password=S2&a=b"'
    folder.write("development", redact + said)
    loaded = folder.load(Settings)
    text = as_json(loaded) if is_json else as_text(loaded)
    assert "http://h/[redacted]?iban=[redacted]&password=[redacted]&a=b" in text


@given(TEXTS)
def test_no_answer_that_tells_of_an_error_shows_a_secret(text):
    error = InvalidArgumentError(text, fields=[FieldViolation("sku", text)])
    call = call_of("")
    assert leaks(problem(error).body.decode()) == []
    assert leaks(details(error, call, "tea").decode("latin-1")) == []


async def test_a_caller_is_not_told_a_secret_that_an_error_was_made_of(ports, monkeypatch):
    async def get(_self: Orders, _order_id: str) -> None:
        raise NotFoundError(f"nothing at password={HEAD}")

    monkeypatch.setattr(Orders, "get", get)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{ports.http}") as client:
        answer = await client.get("/v1/orders/1")
    assert answer.status_code == 404
    assert "password=[redacted]" in answer.json()["detail"]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await OrderServiceStub(channel).GetOrder(pb.GetOrderRequest(id="1"))
    assert "password=[redacted]" in refused.value.details()
    assert leaks(refused.value) == []


def test_the_line_of_a_start_that_fails_has_no_secret(capsys):
    def run(_settings: Any) -> int:
        raise StartupError(f"cannot reach http://ann:{HEAD}@host")

    assert cli.main(Settings, run, arguments=["run", f"--config={SAMPLE / 'config'}"]) == 1
    assert "http://[redacted]@host" in capsys.readouterr().err


def test_a_logger_that_is_named_like_a_secret_is_listed_without_it():
    with logging_to(LogsSettings(), IDENTITY) as logs:
        logs.set_level(f"password={HEAD}", "DEBUG")
        assert leaks(loggers_response(logs).body) == []
