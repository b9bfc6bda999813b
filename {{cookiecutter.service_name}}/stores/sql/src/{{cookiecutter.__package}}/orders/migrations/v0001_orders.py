"""Begin with the tables of orders."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
serves = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "orders",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(32), nullable=False, unique=True),
        sa.Column("sku", sa.String(64), nullable=False),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), unique=True),
    )
    ends = op.create_table("orders_end", sa.Column("position", sa.BigInteger, nullable=False))
    # microseconds: tokens of a database that was there before point to before every order
    op.bulk_insert(ends, [{"position": time.time_ns() // 1000}])
