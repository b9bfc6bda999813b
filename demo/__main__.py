"""Two services, requests through both, and the one trace that a request leaves: python -m demo."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twinport.testing import FakeZipkin, NotLoggedError, Running

from .purchase import buy_over_grpc, buy_over_rest
from .services import SERVICES, TEMPLATE, DemoError, installed, serving
from .trace import Span, problem_of, tree

SPANS_S = 15
INTERRUPTED = 130


def main() -> int:
    """Run the demo and return the exit status: 1 if the trace is not whole."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=TEMPLATE / ".build/demo", help="to bake in")
    parser.add_argument("--save", type=Path, help="file for the spans and log lines, as JSON")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # after a KeyboardInterrupt, subprocess would
        signal.signal(number, lambda *_: sys.exit(INTERRUPTED))  # not wait until a child has gone
    try:
        demo(arguments.folder.resolve(), arguments.save)
    except (DemoError, NotLoggedError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except SystemExit:
        print("demo: stopped", file=sys.stderr)
        return INTERRUPTED
    return 0


def demo(folder: Path, save: Path | None) -> None:
    """Bake, install, start, ask and show; nothing is left running. Raises DemoError."""
    order_book, checkout = installed(folder)
    with FakeZipkin() as zipkin, serving(order_book, checkout, zipkin.endpoint) as services:
        ports = services[0].ports()
        buy_over_grpc(checkout, f"localhost:{ports.grpc}", zipkin.endpoint)
        trace_id = buy_over_rest(ports.http)
        spans = spans_of(trace_id, zipkin)
    show(trace_id, spans, services)
    if save:
        logs = {service.name: service.lines for service in services}
        save.write_text(json.dumps({"trace_id": trace_id, "spans": spans, "logs": logs}))
    if problem := problem_of(spans, SERVICES):
        raise DemoError(f"the trace is not whole: {problem}")


def spans_of(trace_id: str, zipkin: FakeZipkin) -> list[Span]:
    """Return the spans of one trace, as soon as it is whole; raises DemoError."""

    def chosen(spans: Sequence[Span]) -> list[Span]:
        return [span for span in spans if span["traceId"] == trace_id]

    def is_whole(spans: Sequence[Span]) -> bool:
        return bool(chosen(spans)) and not problem_of(chosen(spans), SERVICES)

    try:
        return chosen(zipkin.wait_for(is_whole, SPANS_S))
    except TimeoutError:  # what is there shows what is missing
        return chosen(zipkin.spans)
    except ValueError as error:
        raise DemoError(str(error)) from error


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
