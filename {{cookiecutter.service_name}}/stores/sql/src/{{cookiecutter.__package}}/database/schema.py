"""The schema of each feature: what the database has, compared with what the code needs.

A feature has its migrations in its own folder, `migrations/v0001_orders.py` and so on; a schema is
known by the number of the last one.
"""

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select
from twinport import FailedPreconditionError

from .database import Database

SCHEMAS = Table(  # `serves` is the number of the oldest code that the schema is good for
    "schemas",
    MetaData(),
    Column("feature", String(64), primary_key=True),
    Column("version", String(4), nullable=False),
    Column("serves", String(4), nullable=False),
)


class Schema:
    """What a feature needs, by the migrations in its folder."""

    def __init__(self, feature: str, migrations: Path) -> None:
        self._feature = feature
        self._needed = numbers(migrations)[-1]

    async def check(self, database: Database) -> None:
        """Let the replica be not ready where this raises: FailedPreconditionError says why.

        A newer schema is served, unless its migration says that it is not for code as old as ours.
        """
        async with database.reading() as connection:
            version, serves = await connection.run_sync(_state, self._feature)
        if version < self._needed:
            raise FailedPreconditionError(
                f"schema of {self._feature}: {version or 'none'} is there, {self._needed} is "
                "needed: run the command migrate of this version"
            )
        if self._needed < serves:
            raise FailedPreconditionError(
                f"schema of {self._feature}: {version} is there, which is for code of {serves} "
                f"and newer, and this is code of {self._needed}"
            )


def numbers(migrations: Path) -> list[str]:
    """Return the numbers of the migrations in a folder, in their order."""
    return sorted(path.stem[1:5] for path in migrations.glob("v[0-9]*_*.py"))


def _state(connection: Connection, feature: str) -> tuple[str, str]:
    if not inspect(connection).has_table(SCHEMAS.name):
        return "", ""
    columns = (SCHEMAS.c.version, SCHEMAS.c.serves)
    row = connection.execute(select(*columns).where(SCHEMAS.c.feature == feature)).one_or_none()
    return ("", "") if row is None else (row.version, row.serves)
