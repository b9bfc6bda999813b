"""The stores that keep what test_store.py promises, each as two replicas have it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from {{ cookiecutter.__package }}.orders.domain import OrderStore
from {{ cookiecutter.__package }}.orders.memory import MemoryOrderStore
from {{ cookiecutter.__package }}.settings import Settings

Replicas = tuple[OrderStore, OrderStore]


@asynccontextmanager
async def memory(_: Settings) -> AsyncIterator[Replicas]:
    """Both in one process: nobody else knows what is in its memory."""
    store = MemoryOrderStore()
    yield store, store
    store.end_watches()


KINDS: Mapping[str, Callable[[Settings], AbstractAsyncContextManager[Replicas]]]
KINDS = {"memory": memory}
