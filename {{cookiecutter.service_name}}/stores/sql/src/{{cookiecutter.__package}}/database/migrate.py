"""The command `migrate`: Alembic applies what the database lacks, feature by feature.

Each feature has a chain of its own, with the table `FEATURE_migrations` in which Alembic notes
where it stands: so a feature can be deleted, its migrations with it.
"""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, insert, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from twinport import Command, Invocation, StartupError, UnavailableError

from .connect import connected
from .database import Database
from .schema import SCHEMAS
from .settings import DatabaseSettings

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

HERE = Path(__file__).parent
LOCK = 4_736_251_904  # any number: one replica of this command at a time


def _migrate(invocation: Invocation) -> int:
    if folders := sorted(HERE.parent.glob("*/migrations")):
        asyncio.run(migrate(invocation.load().settings.database, folders))
    return 0


MIGRATE = Command("migrate", "bring the schema of the database up to date", _migrate)


async def migrate(settings: DatabaseSettings, folders: list[Path]) -> None:
    """Apply what is missing, each feature in one transaction; raises StartupError."""
    _make_folder(settings)
    async with connected(settings) as database:
        for folder in folders:
            await _apply(database, folder)


async def _apply(database: Database, folder: Path) -> None:
    try:
        async with database.writing() as connection:
            await connection.run_sync(_upgrade, folder)
    except (UnavailableError, SQLAlchemyError) as error:
        reason = error.__cause__ or error
        first_line = str(getattr(reason, "orig", None) or reason).partition("\n")[0]
        feature = folder.parent.name
        raise StartupError(f"cannot migrate {feature}: {first_line}") from error


def _make_folder(settings: DatabaseSettings) -> None:
    url = make_url(settings.url.get_secret_value())
    if url.drivername == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)


def _upgrade(connection: Connection, folder: Path) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    SCHEMAS.create(connection, checkfirst=True)
    # Alembic is loaded by this command alone: the service starts sooner without it.
    config = import_module("alembic.config").Config()
    for name, value in {
        "script_location": str(HERE),  # of env.py, which calls run
        "version_locations": str(folder),
        "path_separator": "newline",
    }.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes.update(run=run, connection=connection, feature=folder.parent.name)
    import_module("alembic.command").upgrade(config, "head")


def run(context: "EnvironmentContext") -> None:
    """Do what env.py is for."""
    attributes: Mapping[str, Any] = context.config.attributes
    connection, feature = attributes["connection"], attributes["feature"]

    def note(ctx: object, step: Any, heads: object, run_args: object) -> None:
        version, serves = step.up_revision_id, step.up_revision.module.serves
        connection.execute(delete(SCHEMAS).where(SCHEMAS.c.feature == feature))
        row = {"feature": feature, "version": version, "serves": serves}
        connection.execute(insert(SCHEMAS).values(row))
        print(f"{feature}: {version} {step.up_revision.doc}")

    context.configure(
        connection=connection,
        version_table=f"{feature}_migrations",
        on_version_apply=note,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
