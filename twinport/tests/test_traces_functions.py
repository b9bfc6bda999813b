"""Spans of one's own functions: by hand, by decorators, by a setting."""

import asyncio
import sys
import time
from collections.abc import Iterator
from types import ModuleType

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import get_current_span

from twinport.calls import current
from twinport.errors import NotFoundError, StartupError
from twinport.settings import Identity
from twinport.traces import TracesSettings, Tracing, profiled, span, traced, tracing

from support.edges import opened

IDENTITY = Identity(name="order-book")
NOWHERE = TracesSettings(exporter="none")


class Ended(SpanProcessor):
    """Every span that has ended, the newest last."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def __getitem__(self, index: int) -> ReadableSpan:
        return self.spans[index]


@pytest.fixture
def traces() -> Iterator[Tracing]:
    with tracing(NOWHERE, IDENTITY) as traces:
        yield traces


@pytest.fixture
def ended(traces: Tracing) -> Ended:
    ended = Ended()
    traces.add(ended)
    return ended


@traced
def double(number: int) -> int:
    return 2 * number


@traced
async def double_later(number: int) -> int:
    await asyncio.sleep(0)
    return double(number)


@traced
def count(to: int) -> Iterator[int]:
    for number in range(to):
        with span("count one"):
            yield number


@traced
async def count_later(to: int):
    for number in range(to):
        with span("count one later"):
            yield (yield number)


def test_a_traced_function_has_a_span_and_is_still_itself(ended):
    assert (double(2), double.__name__) == (4, "double")
    assert ended[0].name == "double"
    assert ended[0].attributes["code.function.name"].endswith("test_traces_functions.double")


async def test_spans_of_coroutines_nest(ended):
    assert await double_later(2) == 4
    inner, outer = ended.spans
    assert (inner.name, outer.name) == ("double", "double_later")
    assert inner.parent.span_id == outer.context.span_id


def test_a_generator_shows_its_spans_only_to_itself(ended):
    outside = [get_current_span().get_span_context().is_valid for _ in count(2)]
    assert outside == [False, False]
    assert [s.name for s in ended.spans] == ["count one", "count one", "count"]
    assert {s.parent.span_id for s in ended.spans[:2]} == {ended[2].context.span_id}


async def test_an_async_generator_shows_its_spans_only_to_itself(ended):
    outside = [get_current_span().get_span_context().is_valid async for _ in count_later(2)]
    assert outside == [False, False, False, False]
    assert [s.name for s in ended.spans] == ["count one later", "count one later", "count_later"]
    assert {s.parent.span_id for s in ended.spans[:2]} == {ended[2].context.span_id}


async def test_what_is_sent_to_a_traced_generator_arrives(ended):
    steps = count_later(1)
    assert (await anext(steps), await steps.asend("sent")) == (0, "sent")
    await steps.aclose()
    assert ended[-1].name == "count_later"


def forgiving():
    try:
        yield "begun"
    except ValueError:
        yield "caught"
    return "done"


async def forgiving_later():
    try:
        yield "begun"
    except ValueError:
        yield "caught"


def delegating(steps: Iterator[str]):
    yield (yield from steps)


@pytest.mark.parametrize("decorate", [traced, profiled])
def test_what_is_thrown_into_a_generator_arrives_and_what_it_returns_comes_back(ended, decorate):
    steps = delegating(decorate(forgiving)())
    assert (next(steps), steps.throw(ValueError()), next(steps)) == ("begun", "caught", "done")
    assert [(s.name, s.status.is_unset) for s in ended.spans] == [("forgiving", True)]


@pytest.mark.parametrize("decorate", [traced, profiled])
async def test_what_is_thrown_into_an_async_generator_arrives(ended, decorate):
    steps = decorate(forgiving_later)()
    assert (await anext(steps), await steps.athrow(ValueError())) == ("begun", "caught")
    assert [item async for item in steps] == []
    assert [(s.name, s.status.is_unset) for s in ended.spans] == [("forgiving_later", True)]


async def test_an_async_generator_that_fails_marks_its_span(ended):
    steps = traced(forgiving_later)()
    await anext(steps)
    with pytest.raises(KeyError):
        await steps.athrow(KeyError("no tea"))
    assert ended[0].status.description == "KeyError: 'no tea'"


def test_a_generator_that_is_closed_early_ends_its_span(ended):
    steps = count(5)
    next(steps)
    steps.close()
    assert [s.name for s in ended.spans] == ["count one", "count"]


@traced
def fail(error: Exception) -> None:
    raise error


def test_an_error_is_told_once_by_the_innermost_span(ended):
    with pytest.raises(ValueError, match="no tea"), span("outer"):
        fail(ValueError("no tea"))
    inner, outer = ended.spans
    assert [event.name for event in inner.events] == ["exception"]
    assert outer.events == ()
    assert {s.status.description for s in ended.spans} == {"ValueError: no tea"}


def test_an_error_meant_for_the_caller_is_no_failure(ended):
    with pytest.raises(NotFoundError):
        fail(NotFoundError("no order"))
    assert ended[0].status.is_unset
    assert ended[0].attributes["error.type"] == "NOT_FOUND"


@traced(arguments=True)
def order(sku: str, quantity: int, *, note: str = "") -> None:
    """Do nothing."""


def test_arguments_are_shown_only_if_asked_for(ended):
    order("tea", quantity=3, note="x" * 1000)
    shown = dict(ended[0].attributes)
    assert (shown["argument.sku"], shown["argument.quantity"]) == ("tea", 3)
    assert len(shown["argument.note"]) == 200
    double(2)
    assert not any(key.startswith("argument") for key in ended[1].attributes)


@profiled
async def work_and_wait() -> None:
    sum(range(200_000))
    await asyncio.sleep(0.05)


async def test_profiled_tells_wall_time_and_processor_time_of_this_function_alone(ended):
    async def busy_elsewhere() -> None:
        for _ in range(20):
            sum(range(100_000))
            await asyncio.sleep(0)

    await asyncio.gather(work_and_wait(), busy_elsewhere())
    times = ended[0].attributes
    assert times["profile.wall_s"] >= 0.05
    assert 0 < times["profile.cpu_s"] < times["profile.wall_s"] / 2


def spin(seconds: float = 0.02) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@profiled
def spin_twice():
    spin()
    yield
    spin()


@profiled
async def spin_twice_later():
    spin()
    await asyncio.sleep(0)
    yield
    spin()


async def test_profiled_measures_a_generator_only_while_it_works(ended):
    for _ in spin_twice():
        spin(0.1)
    async for _ in spin_twice_later():
        spin(0.1)
    for measured in ended.spans:
        assert 0.04 <= measured.attributes["profile.cpu_s"] < 0.1


def test_nothing_is_recorded_in_a_call_that_was_not_sampled(traces, ended):
    call = opened(traces, {"b3": f"{'a' * 32}-{'b' * 16}-0"})
    token = current.set(call)
    with span("unseen") as unseen:
        assert not unseen.is_recording()
    assert (double(1), list(count(2))) == (2, [0, 1])
    current.reset(token)
    assert ended.spans == []


DOMAIN = """
class Orders:
    async def create(self, sku): return self._made(sku)
    def _made(self, sku): return price(sku)
    @staticmethod
    def currencies(): return ["EUR"]
    @classmethod
    def empty(cls): return cls()

def price(sku): return 3
def _secret(): return 4
"""


@pytest.fixture
def domain() -> Iterator[ModuleType]:
    """A module of somebody's, and one that imports from it by name."""
    domain, user = ModuleType("somebodys.domain"), ModuleType("somebodys.user")
    sys.modules |= {"somebodys.domain": domain, "somebodys.user": user}
    exec(DOMAIN, vars(domain))
    exec("from somebodys.domain import Orders, price", vars(user))
    yield user
    del sys.modules["somebodys.domain"], sys.modules["somebodys.user"]


async def test_a_setting_traces_a_module_without_an_edit(domain):
    chosen = TracesSettings(exporter="none", functions=["somebodys.domain"])
    untouched = domain.price
    with tracing(chosen, IDENTITY) as traces:
        traces.add(ended := Ended())
        assert await domain.Orders.empty().create("tea") == domain.price("tea") == 3
        assert domain.Orders.currencies() == ["EUR"]
    names = [span.name for span in ended.spans]
    assert names == ["Orders.empty", "price", "Orders.create", "price", "Orders.currencies"]
    assert domain.price is untouched


@pytest.mark.parametrize("name", ["no.such.module", "", ".relative"])
def test_a_wrong_module_is_named_with_its_setting(name):
    chosen = TracesSettings(exporter="none", functions=[name])
    with pytest.raises(StartupError, match=f"^traces.functions: '{name}': "):
        tracing(chosen, IDENTITY).__enter__()
