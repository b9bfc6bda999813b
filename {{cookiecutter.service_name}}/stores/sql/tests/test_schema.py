"""The schema: what `migrate` does, and which code is ready with it."""

import asyncio
from pathlib import Path
from shutil import copytree

import pytest
from twinport import FailedPreconditionError, StartupError

from {{ cookiecutter.__package }}.database.connect import connected
from {{ cookiecutter.__package }}.database.migrate import migrate
from {{ cookiecutter.__package }}.database.schema import Schema
from {{ cookiecutter.__package }}.database.settings import DatabaseSettings

from .database import FEATURES, settings_of

FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, serves = "0001", None, "0001"


def upgrade() -> None:
    op.create_table("teas", sa.Column("name", sa.String(20)))
"""
NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, serves = "0002", "0001", "{serves}"


def upgrade() -> None:
    op.add_column("teas", sa.Column("kind", sa.String(20)))
"""
WRONG = '    op.execute("NO SQL")\n'


@pytest.fixture
def settings(database: str) -> DatabaseSettings:
    return settings_of(database)


@pytest.fixture
def teas(tmp_path: Path) -> Path:
    """The migrations of a feature that begins."""
    folder = tmp_path / "first/teas/migrations"
    folder.mkdir(parents=True)
    (folder / "v0001_teas.py").write_text(FIRST)
    return folder


def with_next(teas: Path, serves: str = "0001", more: str = "") -> Path:
    """Return the migrations of the feature's next version."""
    folder = copytree(teas, teas.parents[2] / "next/teas/migrations", dirs_exist_ok=True)
    (folder / "v0002_kind.py").write_text(NEXT.format(serves=serves) + more)
    return folder


async def check(settings: DatabaseSettings, migrations: Path) -> None:
    async with connected(settings) as database:
        await Schema("teas", migrations).check(database)


async def test_code_that_is_newer_than_the_schema_is_not_ready_and_says_why(settings, teas):
    with pytest.raises(FailedPreconditionError, match="none is there, 0001 is needed"):
        await check(settings, teas)
    await migrate(settings, [teas])
    await check(settings, teas)
    with pytest.raises(FailedPreconditionError, match="0001 is there, 0002 is needed"):
        await check(settings, with_next(teas))


async def test_code_that_is_older_than_the_schema_serves_on(settings, teas):
    await migrate(settings, [with_next(teas)])
    await check(settings, teas)


async def test_code_that_is_too_old_for_the_schema_is_not_ready_and_says_why(settings, teas):
    await migrate(settings, [with_next(teas, serves="0002")])
    with pytest.raises(FailedPreconditionError, match=r"0002 and newer, .* code of 0001"):
        await check(settings, teas)


async def test_migrating_again_changes_nothing(settings, teas, capsys):
    await migrate(settings, [teas])
    await migrate(settings, [teas])
    assert capsys.readouterr().out.count("teas: 0001") == 1


async def test_of_two_that_migrate_at_once_one_waits(settings, teas, capsys):
    await asyncio.gather(migrate(settings, [teas]), migrate(settings, [teas]))
    assert capsys.readouterr().out.count("teas: 0001") == 1


async def test_a_migration_that_fails_leaves_nothing_behind_and_says_why_in_a_line(settings, teas):
    await migrate(settings, [teas])
    with pytest.raises(StartupError, match=r"cannot migrate teas: .*syntax error"):
        await migrate(settings, [with_next(teas, more=WRONG)])
    await check(settings, teas)
    await migrate(settings, [with_next(teas)])
    await check(settings, with_next(teas))


MIGRATIONS = [path for folder in FEATURES for path in sorted(folder.glob("v*.py"))]


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_is_named_by_its_number(path: Path):
    assert f'\nrevision = "{path.stem[1:5]}"\n' in path.read_text(encoding="utf-8")
