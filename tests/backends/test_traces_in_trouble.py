"""A started service whose trace backend is slow, refuses, fails, or is a black hole."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from demo.services import spans_to, started
from tools.backend import wait_until
from twinport.testing import FakeZipkin, Running

from .callers import Stopwatch, get_each, memory_bytes

pytestmark = pytest.mark.backends

CALLS, WARMING_UP = 10_000, 500
FLUSH_S, SETTLE_S, SLOW_S = 2, 5, 1.5
# A queue that also the calls of a busy machine fill faster than a slow backend takes its spans.
SMALL = {"OTEL_BSP_MAX_QUEUE_SIZE": "1024", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "128"}
GROWN_BYTES = 20 << 20

InTrouble = tuple[Any, Callable[[], Any]]  # a collector, and how it gets well


def refusing(stack: ExitStack) -> InTrouble:
    """Nobody listens."""
    collector = stack.enter_context(FakeZipkin())
    collector.stop()
    return collector, collector.start


def failing(stack: ExitStack) -> InTrouble:
    """It answers 503."""
    collector = stack.enter_context(FakeZipkin())
    collector.status = 503
    return collector, lambda: setattr(collector, "status", 202)


def silent(stack: ExitStack) -> InTrouble:
    """It accepts and never answers."""
    collector = stack.enter_context(FakeZipkin())
    collector.hold()
    return collector, collector.answer_again


def slow(stack: ExitStack) -> InTrouble:
    """It answers each time only after SLOW_S."""
    collector = stack.enter_context(Slow())
    return collector, collector.hurry


def black_hole(stack: ExitStack) -> InTrouble:
    """Its host takes no packet: a full queue of connections drops what comes."""
    collector = stack.enter_context(FakeZipkin())
    collector.stop()
    hole = stack.enter_context(swallowing(collector.port))

    def come_back() -> None:
        hole.close()
        collector.start()

    return collector, come_back


class Slow(FakeZipkin):
    """Takes SLOW_S for each answer, until it is told to hurry."""

    _hurries = False

    def hurry(self) -> None:
        self._hurries = True

    def take(self, path: str, body: bytes) -> int:
        if not self._hurries:
            time.sleep(SLOW_S)
        return super().take(path, body)


@contextmanager
def swallowing(port: int) -> Iterator[ExitStack]:
    """Listen on `port` so that no more connections come through."""
    with ExitStack() as hole:
        listening = hole.enter_context(closing(socket.socket()))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(4):
            waiting = hole.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield hole


@pytest.fixture(params=[refusing, failing, silent, slow, black_hole])
def trouble(request: pytest.FixtureRequest) -> Iterator[InTrouble]:
    with ExitStack() as stack:
        yield request.param(stack)


def chosen(endpoint: str) -> dict[str, Any]:
    return spans_to(endpoint) | {
        "service.environment": "test",  # in development one line is all that is said
        "traces.sample_ratio": 1.0,
        "lifecycle.drain": "0s",
        "lifecycle.flush": f"{FLUSH_S}s",
    }


def call(service: Running, count: int) -> float:
    """Return the seconds of the calls, all of which must be answered."""
    watch = Stopwatch()
    assert set(get_each(service.ports().http, ["/v1/orders"] * count)) == {200}
    return watch.seconds()


def about(service: Running) -> list[str]:
    return [line["message"] for line in service.lines if line["message"].startswith("traces: ")]


def test_requests_go_on_memory_stays_and_spans_come_when_it_is_back(
    order_book: Path, trouble: InTrouble
):
    collector, get_well = trouble
    with started(order_book, chosen(collector.endpoint), **SMALL) as service:
        call(service, WARMING_UP)
        before = memory_bytes(service.pid)
        took_s = call(service, CALLS)
        grown = memory_bytes(service.pid) - before
        print(f"\n{CALLS} calls in {took_s:.1f} s, {grown / (1 << 20):.1f} MiB more")
        assert grown < GROWN_BYTES
        wait_until(lambda: bool(about(service)), 60)
        assert len(about(service)) <= 1 + took_s // 60 + 1  # one line a minute
        get_well()
        watch, later = Stopwatch(), set[str]()
        wait_until(lambda: has_arrived(collector, later, traced_call(service)), 10)
        print(f"a call's span came {watch.seconds():.1f} s after it was back")


def traced_call(service: Running) -> str:
    """Call and return the id of the trace."""
    url = f"http://127.0.0.1:{service.ports().http}/v1/orders"
    with urlopen(url, timeout=10) as answer:
        return str(answer.headers["x-trace-id"])


def has_arrived(collector: Any, traces: set[str], another: str) -> bool:
    """Tell whether a span of one of these traces is there, `another` now being one of them."""
    traces.add(another)
    return not traces.isdisjoint({span["traceId"] for span in list(collector.spans)})


def test_the_exit_takes_no_longer_than_flush(order_book: Path, trouble: InTrouble):
    collector, _ = trouble
    with started(order_book, chosen(collector.endpoint), **SMALL) as service:
        call(service, WARMING_UP)
        watch = Stopwatch()
        assert service.stop() == 0
        print(f"\nstopped within {watch.seconds():.1f} s")
        assert watch.seconds() < FLUSH_S + SETTLE_S
    lost = [line for line in about(service) if "spans did not reach" in line]
    assert lost or len(collector.spans) == WARMING_UP
