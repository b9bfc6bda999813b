"""Two versions of a service over one schema, while the newer one is rolled out under load."""

import json
import shutil
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.stores.fleet import Load, Replica, is_right, migrate
from tests.stores.servers import Server

pytestmark = pytest.mark.stores

QUIET_S, PATIENCE_S = 2.0, 60.0


NOTE = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, serves = "0002", "0001", "{serves}"


def upgrade() -> None:
    op.add_column("orders", sa.Column("note", sa.String(200)))
"""


def next_version(service: Path, folder: Path, serves: str) -> Path:
    """Return the sources of a version that needs a newer schema."""
    sources = shutil.copytree(service / "src", folder / "src")
    (migrations,) = sources.glob("*/orders/migrations")
    (migrations / "v0002_note.py").write_text(NOTE.format(serves=serves))
    return sources


def readiness(replica: Replica) -> tuple[int, str]:
    address = f"http://127.0.0.1:{replica.ports['management']}/readyz"
    try:
        with urlopen(address, timeout=30) as answer:
            return answer.status, json.load(answer)["checks"]["orders.store"]["status"]
    except HTTPError as error:
        return error.code, json.load(error)["checks"]["orders.store"]["status"]


def becomes(replica: Replica, status: int, reason: str) -> None:
    """Wait for a readiness and its reason; a slow start may have another one before."""
    until = time.monotonic() + PATIENCE_S
    while not ((found := readiness(replica))[0] == status and reason in found[1]):
        assert time.monotonic() < until, found
        time.sleep(QUIET_S / 4)


def test_two_versions_over_one_schema_serve_while_one_is_rolled_out(
    services: dict[str, Path], tmp_path: Path, postgresql: Server
):
    service, url = services["sql"], postgresql.url
    migrate(service, url)
    old, newer = Replica(service, url), next_version(service, tmp_path, serves="0001")
    new = Replica(service, url, newer)
    try:
        old.ready()
        new.ready()
        becomes(new, 503, "0002 is needed")
        with Load(service, [old, new]) as load:
            migrate(service, url, newer)
            becomes(new, 200, "ok")
            becomes(old, 200, "ok")
            time.sleep(QUIET_S)
            result = load.ended()
    finally:
        statuses = [old.stop(), new.stop()]
    assert statuses == [0, 0]
    print(f"\nTwo versions: {json.dumps(result)}")
    is_right(result)


def test_a_version_that_a_migration_breaks_is_not_ready_and_says_why(
    services: dict[str, Path], tmp_path: Path, postgresql: Server
):
    service, url = services["sql"], postgresql.url
    migrate(service, url)
    old = Replica(service, url)
    try:
        old.ready()
        becomes(old, 200, "ok")
        migrate(service, url, next_version(service, tmp_path, serves="0002"))
        becomes(old, 503, "0002 and newer")
    finally:
        old.stop()
