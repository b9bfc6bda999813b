"""Every class of error, from every kind of method: the same over REST and gRPC."""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any, NoReturn

import pytest

from sample.orders.domain import Orders
from sample.orders.rest import orders_router
from sample.orders.rpc import OrderServicer
from sample.orders.v1 import orders_pb2 as pb
from sample.orders.v1.orders_pb2_grpc import (
    OrderServiceStub,
    add_OrderServiceServicer_to_server,
)
from sample.settings import Settings
from twinport import Service, errors, testing
from twinport.testing import LocalService, Refusal, RefusedError

ERRORS = [  # of errors.py: status over REST, code over both
    (errors.ServiceError, 500, "UNKNOWN"),
    (errors.InvalidArgumentError, 400, "INVALID_ARGUMENT"),
    (errors.NotFoundError, 404, "NOT_FOUND"),
    (errors.AlreadyExistsError, 409, "ALREADY_EXISTS"),
    (errors.FailedPreconditionError, 400, "FAILED_PRECONDITION"),
    (errors.UnauthenticatedError, 401, "UNAUTHENTICATED"),
    (errors.PermissionDeniedError, 403, "PERMISSION_DENIED"),
    (errors.ResourceExhaustedError, 429, "RESOURCE_EXHAUSTED"),
    (errors.OverloadedError, 503, "RESOURCE_EXHAUSTED"),
    (errors.UnimplementedError, 501, "UNIMPLEMENTED"),
    (errors.UnavailableError, 503, "UNAVAILABLE"),
    (errors.DeadlineExceededError, 504, "DEADLINE_EXCEEDED"),
    (errors.InternalError, 500, "INTERNAL"),
]
TEA = {"sku": "tea", "quantity": 1}
FIELDS = frozenset({("a.b", "is odd")})


class FailingOrders(Orders):
    """Answers everything with one error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(page_size=1)
        self._error = error

    async def _fail(self, *_: object) -> NoReturn:
        raise self._error

    async def _fail_later(self, _: AsyncIterable[object]) -> AsyncIterator[Any]:
        yield await self._fail()

    list = watch = import_many = _fail
    quote = _fail_later


def failing(error: Exception) -> Any:
    async def build(service: Service, settings: Settings) -> None:
        orders = FailingOrders(error)
        service.rest.include_router(orders_router(orders))
        service.rpc.add(add_OrderServiceServicer_to_server, OrderServicer(orders))

    return build


async def tea() -> AsyncIterator[dict[str, Any]]:
    yield TEA


async def rest_refusals(service: LocalService) -> AsyncIterator[Refusal]:
    """Yield what each kind of method says: unary, answers, requests, both streamed."""
    rest = service.rest
    for answer in (await rest.get("/v1/orders"), await rest.post("/v1/orders:import", json=TEA)):
        yield refusal(testing.rest_answer, answer)
    async with rest.stream("GET", "/v1/orders:watch") as stream:
        yield await refused(anext(testing.rest_events(stream)))
    exchange = testing.rest_exchange(service.ports.http, "/v1/orders:quote", tea())
    yield await refused(anext(exchange))


async def rpc_refusals(service: LocalService) -> AsyncIterator[Refusal]:
    stub = OrderServiceStub(service.rpc)
    yield await refused(testing.rpc_answer(stub.ListOrders(pb.ListOrdersRequest())))
    yield await refused(testing.rpc_answer(stub.ImportOrders(iter([pb.ImportOrdersRequest()]))))
    yield await refused(anext(testing.rpc_answers(stub.WatchOrders(pb.WatchOrdersRequest()))))
    quotes = stub.QuoteOrders(iter([pb.QuoteOrdersRequest()]))
    yield await refused(anext(testing.rpc_answers(quotes)))


async def refusals(service: LocalService) -> list[Refusal]:
    by_rest = [each async for each in rest_refusals(service)]
    return by_rest + [each async for each in rpc_refusals(service)]


def refusal(read: Any, answer: Any) -> Refusal:
    with pytest.raises(RefusedError) as caught:
        read(answer)
    return caught.value.refusal


async def refused(answer: Any) -> Refusal:
    with pytest.raises(RefusedError) as caught:
        await answer
    return caught.value.refusal


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
async def test_every_error_reads_the_same_on_both_transports(
    error: type[errors.ServiceError], status: int, code: str
):
    raised = error("why it went wrong", fields=[errors.FieldViolation("a.b", "is odd")])
    async with testing.serving(testing.free(Settings), failing(raised)) as service:
        assert (await service.rest.get("/v1/orders")).status_code == status
        seen = await refusals(service)
    assert seen == [Refusal(code, "why it went wrong", FIELDS)] * 8


async def test_a_bug_tells_no_caller_what_it_was():
    bug = failing(KeyError("password"))
    async with testing.serving(testing.free(Settings), bug) as service:
        seen = await refusals(service)
    assert seen == [Refusal("INTERNAL", "internal error", frozenset())] * 8


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


def test_the_table_names_every_error():
    known = {each for each in subclasses(errors.ServiceError) if each in vars(errors).values()}
    known -= {errors.InsufficientScopeError}  # of the guard alone, in test_auth.py
    assert {row[0] for row in ERRORS} == known
