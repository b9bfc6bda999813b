"""Two services, requests through both, and the one trace that a request leaves."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from collector import Collector, Span, collecting
from fleet import (
    TEMPLATE,
    DemoError,
    Running,
    bake,
    call,
    install_wheel,
    make,
    replace_feature,
    running,
    told,
)
from tree import problem_of, tree

ORDER_BOOK, CHECKOUT = "order-book", "checkout"
PURCHASE = {"sku": "green-tea", "quantity": 2}
METHOD = "checkout.purchases.v1.PurchaseService/CreatePurchase"
SERVICES = {ORDER_BOOK, CHECKOUT}
ANSWER_S, SPANS_S = 10, 15
INTERRUPTED = 130


def main() -> int:
    """Run the demo and return the exit status: 1 if the trace is not whole."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=TEMPLATE / ".build/demo", help="to bake in")
    parser.add_argument("--save", type=Path, help="file for the spans and log lines, as JSON")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # after a KeyboardInterrupt, subprocess would
        signal.signal(number, lambda *_: sys.exit(INTERRUPTED))  # not wait until a child has gone
    try:
        demo(arguments.folder.resolve(), arguments.save)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except SystemExit:
        print("demo: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def demo(folder: Path, save: Path | None) -> None:
    """Bake, install, start, ask and show; nothing is left running. Raises DemoError."""
    order_book, checkout = installed(folder)
    with collecting() as collector, serving(order_book, checkout, collector.endpoint) as services:
        ports = services[0].ports()
        ask_over_grpc(checkout, f"localhost:{ports['grpc']}", collector.endpoint)
        trace_id = ask_over_rest(ports["http"])
        spans = spans_of(trace_id, collector)
    show(trace_id, spans, services)
    if save:
        logs = {service.name: service.lines for service in services}
        save.write_text(json.dumps({"trace_id": trace_id, "spans": spans, "logs": logs}))
    if problem := problem_of(spans, SERVICES) or " ".join(collector.mistakes):
        raise DemoError(f"the trace is not whole: {problem}")


def installed(folder: Path) -> tuple[Path, Path]:
    """Return the folders of both services, ready to start; raises DemoError."""
    with told(f"baking {ORDER_BOOK} and {CHECKOUT} in {folder}"):
        order_book, checkout = bake(ORDER_BOOK, folder), bake(CHECKOUT, folder)
        replace_feature(checkout, Path(__file__).parent / CHECKOUT)
    with told(f"installing {ORDER_BOOK}; the first time this takes a minute or two"):
        make(order_book, "install")
    with told(f"building the package with which others call {ORDER_BOOK}"):
        make(order_book, "client")
    with told(f"installing {CHECKOUT} and that package"):
        make(checkout, ".venv/.installed")
        install_wheel(checkout, order_book / "dist")
        make(checkout, "install")
    return order_book, checkout


@contextmanager
def serving(order_book: Path, checkout: Path, endpoint: str) -> Iterator[tuple[Running, Running]]:
    """Keep both services running, checkout first; their spans go to `endpoint`."""
    with ExitStack() as services:
        with told("starting both on free ports"):
            first = services.enter_context(running(order_book, settings(endpoint)))
            target = {"clients.order-book.target": f"localhost:{first.ports()['grpc']}"}
            second = services.enter_context(running(checkout, settings(endpoint) | target))
            second.ports()
        yield second, first


def settings(endpoint: str) -> dict[str, Any]:
    """Return what both services are told on the command line."""
    ports = {f"{section}.port": 0 for section in ("http", "grpc", "management")}
    hosts = {f"{section}.host": "127.0.0.1" for section in ("http", "grpc")}
    return ports | hosts | spans_to(endpoint) | {"logs.sinks.console.format": "json"}


def spans_to(endpoint: str) -> dict[str, Any]:
    """Return the settings by which spans get to the Zipkin, or stand-in, at `endpoint`."""
    return {"traces.exporter": "zipkin", "traces.endpoint": endpoint}


def ask_over_grpc(checkout: Path, target: str, endpoint: str) -> None:
    """Send a gRPC request through both services; raises DemoError."""
    print(f"\ngRPC: checkout call {METHOD} '{json.dumps(PURCHASE)}'")
    sets = [f"--set={key}={value}" for key, value in spans_to(endpoint).items()]
    print(call(checkout, "call", METHOD, json.dumps(PURCHASE), "--target", target, *sets).strip())


def ask_over_rest(port: int) -> str:
    """Send a REST request through both services and return the id of its trace."""
    url, body = f"http://127.0.0.1:{port}/v1/purchases", json.dumps(PURCHASE)
    headers = {"content-type": "application/json"}
    print(f"\nREST: curl -d '{body}' -H content-type:application/json {url}")
    try:
        with urlopen(Request(url, body.encode(), headers), timeout=ANSWER_S) as answer:
            print(answer.read().decode())
            return str(answer.headers["x-trace-id"])
    except HTTPError as error:
        raise DemoError(f"{url}: {error.code} {error.read().decode()}") from error


def spans_of(trace_id: str, collector: Collector) -> list[Span]:
    """Return the spans of one trace, as soon as it is whole."""

    def chosen(spans: Sequence[Span]) -> list[Span]:
        return [span for span in spans if span["traceId"] == trace_id]

    def is_whole(spans: Sequence[Span]) -> bool:
        return bool(chosen(spans)) and not problem_of(chosen(spans), SERVICES)

    return chosen(collector.wait_for(is_whole, SPANS_S))


def show(trace_id: str, spans: Sequence[Span], services: Sequence[Running]) -> None:
    """Print the trace, and the log lines that belong to it."""
    print(f"\nThe trace {trace_id}:\n", *tree(spans), sep="\n")
    print("\nIts log lines:\n")
    lines = [(line, service.name) for service in services for line in service.lines]
    for line, name in sorted(lines, key=lambda line: str(line[0]["@timestamp"])):
        if trace_of(line) == trace_id:
            print(f"{name:<12}{line['@timestamp'][11:23]}  {line['message']}")


def trace_of(line: dict[str, Any]) -> object:
    """Return the id of the trace that a log record belongs to (Elastic Common Schema)."""
    return line.get("trace.id") or line.get("trace", {}).get("id")


if __name__ == "__main__":
    sys.exit(main())
