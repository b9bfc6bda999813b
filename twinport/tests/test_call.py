"""`call METHOD JSON`, as a process of its own, against the real service."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

import sample as package
from sample.settings import Settings
from twinport import Service, UnavailableError
from twinport.service.ports import Ports
from twinport.testing import FakeZipkin
from twinport.testing.process import options
from twinport.tls.authority import write

from support.certified import Site
from support.forking import forked
from support.places import SAMPLE
from support.process import dotted

HOME = SAMPLE
NAME = package.__name__
SERVICE = f"{NAME}.orders.v1.OrderService"
ITEM = '{"sku": "tea", "quantity": 2}'
FOREIGN = "grpc.channelz.v1.Channelz/GetServers"

FORECAST = {"name": "Forecast", "field": [{"name": "sky", "number": 1, "type": 9, "label": 1}]}
ASK = {"name": "Ask", "input_type": ".weather.v1.Forecast", "output_type": ".weather.v1.Forecast"}
FILE = {
    "name": "weather/v1/weather.proto",
    "package": "weather.v1",
    "syntax": "proto3",
    "message_type": [FORECAST],
    "service": [{"name": "WeatherService", "method": [ASK]}],
}
WEATHER = descriptor_pool.Default().AddSerializedFile(
    ParseDict(FILE, FileDescriptorProto()).SerializeToString()
)

METHODS = f"are: {SERVICE}/CreateOrder, {SERVICE}/DeleteOrder, {SERVICE}/GetOrder, "
MISTAKES = [  # arguments, what the one line says
    ([f"{SERVICE}/CreateOrder", '{"sku": '], "JSON: "),
    ([f"{SERVICE}/CreateOrder", '{"skuu": "tea"}'], 'no field named "skuu"'),
    ([f"{SERVICE}/CreateOrder", "[{}, {}]"], "JSON: a list, but the method takes one message"),
    ([f"{SERVICE}/CreateOrder", "7"], "JSON: a message must be an object"),
    ([f"{SERVICE}/Nothing", "{}"], f"METHOD: {SERVICE} has no 'Nothing', but CreateOrder, "),
    (["CreateOrder"], f"METHOD: 'CreateOrder' is not like package.Service/Method; there {METHODS}"),
    ([], f"METHOD: is missing; there {METHODS}"),
    ([FOREIGN, "{}"], "METHOD: 'grpc.channelz.v1.Channelz' is not known, here or there"),
    ([f"{SERVICE}/CreateOrder", "[" * 5_000], "JSON: "),
    ([f"{SERVICE}/GetOrder", "{}", "--metadata", "authorization"], "--metadata: must be KEY=VALUE"),
    ([f"{SERVICE}/GetOrder", "{}", "--metadata", "a b=c"], "--metadata: must be KEY=VALUE"),
    ([f"{SERVICE}/GetOrder", "{}", "--metadata", "key=one\nline"], "--metadata: must be KEY=VALUE"),
    ([f"{SERVICE}/GetOrder", "{}", "--metadata", "key=ü"], "--metadata: must be KEY=VALUE"),
    ([f"{SERVICE}/GetOrder", "{}", "--metadata", "a-bin=?"], "a KEY-bin must be base64"),
    ([f"{SERVICE}/GetOrder", "{}", "--key", "k.pem"], "--certificate, --key: must be given toge"),
]


class Said(NamedTuple):
    status: int
    answers: list[str]
    plain: list[str]


async def call(*arguments: str, **chosen: str) -> Said:
    """Run the command with the settings of the service, `chosen` ones above them."""
    sets = options({"traces.exporter": "none"} | dotted(chosen))
    with TemporaryFile() as errors:
        command = ["-m", NAME, "call", *arguments, *sets]
        process = await forked(command, HOME, os.environ, errors.fileno())
        async with asyncio.timeout(20):
            answers, status = await process.stdout.read(), await process.wait()
        errors.seek(0)
        plain = errors.read()
    return Said(status, answers.decode().splitlines(), plain.decode().splitlines())


def reflecting(settings: Settings) -> Settings:
    described = settings.grpc.model_copy(update={"reflection": True})
    return settings.model_copy(update={"grpc": described})


async def test_a_call_prints_the_answer_and_the_trace_id(ports: Ports):
    said = await call(f"{SERVICE}/CreateOrder", ITEM, grpc__port=str(ports.grpc))
    assert said.status == 0
    order = json.loads(said.answers[0])["order"]
    assert (order["sku"], order["quantity"]) == ("tea", 2)
    (line,) = said.plain
    assert line.startswith("trace id ")


async def test_each_answer_of_a_stream_is_a_line(ports: Ports):
    target = f"localhost:{ports.grpc}"
    said = await call(f"{SERVICE}/QuoteOrders", f"[{ITEM}, {ITEM}]", "--target", target)
    assert (said.status, [json.loads(line)["quantity"] for line in said.answers]) == (0, [2, 2])


async def test_metadata_is_sent_with_the_call(settings: Settings, serving: Callable[..., Any]):
    sent: list[tuple[str, str | bytes]] = []

    async def built(service: Service, settings: Settings) -> None:
        service.rpc.add(add_weather, sent)

    async with serving(reflecting(settings), built) as ports:
        pairs = ("--metadata", "Shop=a=b c", "--metadata", "raw-bin=AAE=")
        said = await call("weather.v1.WeatherService/Ask", *pairs, grpc__port=str(ports.grpc))
    assert said.status == 0
    assert {("shop", "a=b c"), ("raw-bin", b"\0\1")} <= set(sent)


async def test_a_service_that_wants_a_certificate_is_shown_one(
    settings: Settings, serving: Callable[..., Any], tmp_path: Path
):
    site = Site(tmp_path, settings)
    write(site.authority.issue("operator"), tmp_path, "operator")
    shown = ("--certificate", f"{tmp_path}/operator.pem", "--key", f"{tmp_path}/operator.key")
    method = f"{SERVICE}/ListOrders"
    async with serving(site.mutual({"*": {"orders:read"}})) as ports:
        target = ("--target", f"localhost:{ports.grpc}", "--ca", str(site.ca))
        assert (await call(method, *target, *shown)).status == 0
        assert (await call(method, *target)).status == 1


async def test_a_refused_call_is_one_line_and_exit_1(ports: Ports):
    port = str(ports.grpc)
    said = await call(f"{SERVICE}/GetOrder", '{"id": "unknown"}', grpc__port=port)
    assert (said.status, said.answers) == (1, [])
    trace, line = said.plain
    assert trace.startswith("trace id ")
    assert line.endswith("NOT_FOUND: no such order")


async def test_a_service_that_is_not_ready_is_called_all_the_same(
    settings: Settings, serving: Callable[..., Any]
):
    async def unwell() -> None:
        raise UnavailableError("the store is away")

    async def built(service: Service, settings: Settings) -> None:
        service.rpc.add(add_weather, [])
        service.check("store", unwell)

    async with serving(reflecting(settings), built) as ports:
        said = await call("weather.v1.WeatherService/Ask", grpc__port=str(ports.grpc))
    assert said.status == 0, said.plain


async def test_nobody_there_is_one_line_and_exit_1():
    said = await call(f"{SERVICE}/ListOrders", "--target", "localhost:1")
    assert (said.status, said.answers) == (1, [])
    assert said.plain[-1].endswith("UNAVAILABLE: localhost:1 is not available")


@pytest.mark.parametrize(("arguments", "line"), MISTAKES, ids=lambda value: str(value)[-30:])
async def test_a_mistake_is_one_line_and_exit_2(ports: Ports, arguments: list[str], line: str):
    said = await call(*arguments, "--target", f"localhost:{ports.grpc}")
    assert (said.status, said.answers, len(said.plain)) == (2, [], 1)
    assert line in said.plain[0]


async def test_a_mistake_of_any_length_is_told_in_few_words(ports: Ports):
    content = json.dumps({"x" * 5_000: 1})
    said = await call(f"{SERVICE}/CreateOrder", content, "--target", f"localhost:{ports.grpc}")
    assert (said.status, len(said.plain), len(said.plain[0]) < 2_000) == (2, 1, True)


def add_weather(sent: list[Any], server: Any) -> None:
    """Add a service that only the process of this test has a description of."""

    async def ask(request: Any, context: Any) -> Any:
        sent.extend(context.invocation_metadata())
        return request

    kind = GetMessageClass(WEATHER.message_types_by_name["Forecast"])
    handler = grpc.unary_unary_rpc_method_handler(ask, kind.FromString, kind.SerializeToString)
    server.add_registered_method_handlers("weather.v1.WeatherService", {"Ask": handler})


async def test_a_method_of_another_service_is_found_by_reflection(
    settings: Settings, serving: Callable[..., Any]
):
    async def built(service: Service, settings: Settings) -> None:
        service.rpc.add(add_weather, [])

    async with serving(reflecting(settings), built) as ports:
        target = f"localhost:{ports.grpc}"
        said = await call("weather.v1.WeatherService/Ask", '{"sky": "blue"}', "--target", target)
        told = await call("Ask", "--target", target)
    assert told.plain[0].endswith(", weather.v1.WeatherService/Ask")
    assert (said.status, said.answers) == (0, ['{"sky": "blue"}'])


async def test_a_call_leaves_a_span_even_where_few_are_sampled(ports: Ports):
    with FakeZipkin() as collector:
        said = await call(
            f"{SERVICE}/CreateOrder",
            ITEM,
            grpc__port=str(ports.grpc),
            traces__exporter="zipkin",
            traces__endpoint=collector.endpoint,
            traces__sample_ratio="0.0",
        )
        spans = collector.wait_for_count(2)
    assert {f"trace id {span['traceId']}" for span in spans} == {said.plain[0]}
