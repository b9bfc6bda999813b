"""Orders kept in a database by SQL, which other replicas of the service use at the same time."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from ..database.database import Database
from ..database.schema import Schema
from .model import Order, Placed
from .watches import Watches

TABLES = MetaData()  # as the migrations leave them, which a test compares
ORDERS = Table(
    "orders",
    TABLES,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False, unique=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("key", String(64), unique=True),
)
END = Table("orders_end", TABLES, Column("position", BigInteger, nullable=False))  # one row
RAISE_END = update(END).values(position=END.c.position + 1).returning(END.c.position)

CHANNEL = "orders"
ID = re.compile("[0-9a-f]{32}")  # what is none may be nothing that a database takes as text
FURTHEST = 2**63 - 1  # position


class SqlOrderStore:
    """A table in the order of positions; what one replica adds, the watches of all see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schema = Schema("orders", Path(__file__).parent / "migrations")
        self._watches = Watches(self.page)
        self.end_watches = self._watches.end

    async def check(self) -> None:
        """Raise if the database is away, or its schema is none for this code."""
        await self._schema.check(self._database)

    async def follow(self) -> None:
        """Wake the watches for what other replicas add, until cancelled."""
        await self._database.follow(CHANNEL, self._watches.wake)

    async def add(self, order: Order, key: str) -> Order:
        async with self._database.writing() as connection:
            # Locks the row until the commit. So positions follow the order of commits, and a watch
            # that has seen one has seen all before it; and nobody else takes the key meanwhile.
            raised = await connection.execute(RAISE_END)
            if key and (kept := await _kept_under(connection, key)):
                return kept
            position = raised.scalar_one()
            row = {"position": position, "key": key or None, **asdict(order)}
            await connection.execute(insert(ORDERS).values(row))
            await self._database.announce(connection, CHANNEL)
        self._watches.wake()
        return order

    async def find(self, order_id: str) -> Order | None:
        if not ID.fullmatch(order_id):
            return None
        async with self._database.reading() as connection:
            found = await connection.execute(select(ORDERS).where(ORDERS.c.id == order_id))
            row = found.one_or_none()
        return None if row is None else _order(row)

    async def remove(self, order_id: str) -> bool:
        if not ID.fullmatch(order_id):
            return False
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(ORDERS).where(ORDERS.c.id == order_id))
        return gone.rowcount > 0

    async def page(self, after: int, size: int) -> Sequence[Placed]:
        behind = ORDERS.c.position > min(after, FURTHEST)
        query = select(ORDERS).where(behind).order_by(ORDERS.c.position).limit(size)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [Placed(row.position, _order(row)) for row in rows]

    async def end(self) -> int:
        async with self._database.reading() as connection:
            end: int = (await connection.execute(select(END.c.position))).scalar_one()
        return end

    def watch(self, after: int) -> AsyncGenerator[Placed, None]:
        return self._watches.after(after)


async def _kept_under(connection: AsyncConnection, key: str) -> Order | None:
    row = (await connection.execute(select(ORDERS).where(ORDERS.c.key == key))).one_or_none()
    return None if row is None else _order(row)


def _order(row: Row[Any]) -> Order:
    return Order(id=row.id, sku=row.sku, quantity=row.quantity)
