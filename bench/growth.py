"""What becomes of the cost of a call as orders in its answer, routes or connections grow."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from asks import create, imported, page
from atload import Effort, Load, Served, getting, in_turns, sampled, serving
from h2load import Shape
from tables import Part, table
from variants import SERVERS, TITLES, Variant

SIZES = (1, 10, 100, 1000)  # orders
ROUTES = (5, 50, 500)
CONNECTIONS = (1, 100, 1000)
LISTED = ("uvicorn", "hypercorn", "grpc")
ROOM = tuple(
    (name, 2 * max(CONNECTIONS)) for name in ("http.limits.connections", "calls.max_concurrent")
)
ALONE = Shape(1)

Costs = Mapping[tuple[Variant, int], float]  # by what grows
Grown = Callable[[Served], dict[int, Load]]


def pages(effort: Effort) -> Iterator[Part]:
    """Ask for pages of a list."""
    variants = [Variant(each, server) for server in LISTED for each in ("plain", "ours")]
    costs = _grown(variants, _paged, effort)
    few, many = SIZES[-2:]
    slopes = {each: (costs[each, many] - costs[each, few]) / (many - few) for each in variants}
    head = ["CPU of a page of so many, us", *(f"{size:,}" for size in SIZES), "an order more"]
    rows = [[*_row(each, costs, SIZES), f"{slope:.2f}"] for each, slope in slopes.items()]
    yield table("pages", head, rows)


def routes(effort: Effort) -> Iterator[Part]:
    """Ask for the same order behind more and more routes."""
    variants = [Variant(each, "uvicorn", routes=n) for each in ("plain", "ours") for n in ROUTES]
    with serving(variants) as served:
        taken = in_turns({each: getting(one) for each, one in served.items()}, effort)
    costs = {(each._replace(routes=0), each.routes): one.cpu for each, one in taken.items()}
    head = ["CPU of a call behind so many routes, us", *map(str, ROUTES)]
    rows = [_row(Variant(each, "uvicorn"), costs, ROUTES) for each in ("plain", "ours")]
    yield table("routes", head, rows)


def connections(effort: Effort) -> Iterator[Part]:
    """Ask over more and more connections, one call at a time on each."""
    kinds = (("bare", ()), ("ours", ROOM))
    variants = [Variant(each, on, settings=room) for on in SERVERS for each, room in kinds]
    costs = _grown(variants, _connected, effort)
    head = ["CPU of a call over so many, us", *(f"{count:,}" for count in CONNECTIONS)]
    yield table("connections", head, [_row(each, costs, CONNECTIONS) for each in variants])


def _grown(variants: Sequence[Variant], grown: Grown, effort: Effort) -> Costs:
    with serving(variants) as served:
        loads = {
            (variant, size): load
            for variant, each in served.items()
            for size, load in grown(each).items()
        }
        return {key: each.cpu for key, each in in_turns(loads, effort).items()}


def _paged(served: Served) -> dict[int, Load]:
    sampled(Load(served, imported(served.talk, max(SIZES)), ALONE, 1))
    return {size: Load(served, page(served.talk, size), ALONE) for size in SIZES}


def _connected(served: Served) -> dict[int, Load]:
    ask = create(served.talk, served.port)
    return {count: Load(served, ask, Shape(count)) for count in CONNECTIONS}


def _row(variant: Variant, costs: Costs, sizes: Sequence[int]) -> list[str]:
    mark = "**" if variant.assembly == "ours" else ""
    told = [f"{costs[variant, size]:.0f}" for size in sizes]
    return [f"{TITLES[variant.server]}, {mark}{variant.assembly}{mark}", *told]
