"""Calls by grpcurl, by ghz and by a client in Go."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import TOOLS, Peer

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
SERVICE = "order_book.orders.v1.OrderService"
ITEMS = [{"sku": "tea", "quantity": 2}, {"sku": "milk", "quantity": 3}]
DEADLINE_EXCEEDED, INVALID_ARGUMENT = 64 + 4, 64 + 3  # grpcurl adds 64 to the code of an answer


def grpcurl(running: Peer, *asked: str, options: tuple[str | Path, ...] = ("-plaintext",)):
    """Call the service; `asked` is a method or a word of grpcurl's own."""
    command = (TOOLS / "grpcurl", *options, running.rpc_address, *asked)
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def call(running: Peer, method: str, *messages: dict, options: tuple[str, ...] = ()):
    data = "".join(map(json.dumps, messages))
    options = ("-plaintext", "-format-error", *options, "-d", data)
    return grpcurl(running, f"{SERVICE}/{method}", options=options)


def answers(text: str) -> list[dict]:
    return [json.loads(each) for each in re.findall(r"^\{.*?^\}|^\{\}", text, re.DOTALL | re.M)]


def test_the_services_and_methods_are_listed_by_reflection(service):
    listed = grpcurl(service, "list").stdout.split()
    assert {SERVICE, "grpc.health.v1.Health"} < set(listed)
    described = grpcurl(service, "describe", SERVICE).stdout
    assert len(re.findall(r"^  rpc ", described, re.MULTILINE)) == 7
    for kind in ("ImportOrders ( stream", "WatchOrdersRequest ) returns ( stream"):
        assert (
            kind.replace("WatchOrdersRequest", f".{SERVICE[:20]}.WatchOrdersRequest") in described
        )


def test_a_unary_call_is_answered(service):
    (answer,) = answers(call(service, "CreateOrder", ITEMS[0]).stdout)
    assert answer["order"] == ITEMS[0] | {"id": answer["order"]["id"]}


def test_a_stream_of_requests_has_one_answer(service):
    assert answers(call(service, "ImportOrders", *ITEMS).stdout) == [{"created": "2"}]


def test_each_request_of_a_stream_is_answered_in_its_turn(service):
    quotes = answers(call(service, "QuoteOrders", *ITEMS).stdout)
    assert [{"sku": q["sku"], "quantity": q["quantity"]} for q in quotes] == ITEMS


def test_a_stream_of_answers_ends_at_the_deadline(service):
    watch = call(service, "WatchOrders", {}, options=("-max-time", "1"))
    assert [set(answer) for answer in answers(watch.stdout)] == [{"resume_token"}]
    assert watch.returncode == DEADLINE_EXCEEDED


def test_the_details_of_an_error_can_be_read(service):
    refused = call(service, "CreateOrder", {"sku": "Tea!", "quantity": 0})
    assert refused.returncode == INVALID_ARGUMENT
    details = {
        each["@type"].rpartition(".")[2]: each for each in json.loads(refused.stderr)["details"]
    }
    assert details["ErrorInfo"]["reason"] == "INVALID_ARGUMENT"
    wrong = [violation["field"] for violation in details["BadRequest"]["field_violations"]]
    assert wrong == ["sku", "quantity"]


def test_a_call_over_tls_is_answered_and_one_without_the_ca_is_not(secure):
    listed = grpcurl(secure, "list", options=("-cacert", secure.ca))
    assert SERVICE in listed.stdout
    assert "certificate" in grpcurl(secure, "list", options=()).stderr


def test_many_calls_at_once_all_succeed(service):
    command = (TOOLS / "ghz", "--insecure", "--call", f"{SERVICE}.CreateOrder", "--format", "json")
    load = ("--total", "2000", "--concurrency", "20", "--data", json.dumps(ITEMS[0]))
    done = subprocess.run(
        (*command, *load, service.rpc_address), capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)
    assert (report["count"], report["statusCodeDistribution"]) == (2000, {"OK": 2000})


@pytest.fixture
def module(installed: Path, run, tmp_path: Path) -> Path:
    """The client in Go, with the code that protoc makes for it."""
    module = tmp_path / "go"
    shutil.copytree(HERE / "go", module)
    proto = "order_book/orders/v1/orders.proto"
    outs = [
        f"--{plugin}_{option}"
        for plugin in ("go", "go-grpc")
        for option in (f"out={module}", "opt=module=peers", f"opt=M{proto}=peers/orders")
    ]
    protoc = (installed / ".venv/bin/python", "-m", "grpc_tools.protoc", "-Iproto", *outs, proto)
    run(*protoc, cwd=installed, PATH=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    return module


def test_a_client_in_go_gets_on_with_every_kind_of_method(service, module, run):
    said = run("go", "test", "-count=1", "-v", ".", cwd=module, ORDERS_ADDRESS=service.rpc_address)
    assert said.count("--- PASS: ") == 8
