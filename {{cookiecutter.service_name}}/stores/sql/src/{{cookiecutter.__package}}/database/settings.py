"""Where the database is, and how much of it one replica takes."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from twinport import Section
from twinport.settings import Duration

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


def _known(url: SecretStr) -> SecretStr:
    """Refuse what no driver is there for; never says the URL itself, which is a secret."""
    try:
        scheme = make_url(url.get_secret_value()).drivername
    except ArgumentError:
        raise ValueError("must be like sqlite:///FILE or postgresql://USER@HOST/NAME") from None
    if scheme not in DRIVERS:
        raise ValueError(f"must begin with one of {', '.join(f'{each}://' for each in DRIVERS)}")
    return url


class DatabaseSettings(Section):
    """The database of all features."""

    url: Annotated[SecretStr, AfterValidator(_known)] = SecretStr("sqlite:///data/service.db")
    """`sqlite:///FILE` for one replica, `postgresql://USER:PASSWORD@HOST:PORT/NAME` for several."""

    shared: bool = False
    """Several replicas share it, so that a file of SQLite is refused, as in production."""

    pool: Annotated[int, Field(ge=1, le=1000)] = 10
    """Connections of one replica at most; a call that finds none free waits for one."""

    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=5)
    """The longest wait for a connection, new or from the pool, and for SQLite's lock."""

    @field_validator("shared")
    @classmethod
    def _reached_by_all(cls, shared: bool, info: ValidationInfo) -> bool:
        url = info.data.get("url")  # none where it was refused
        if shared and url and make_url(url.get_secret_value()).drivername == "sqlite":
            raise ValueError(
                "replicas do not share database.url, a file of SQLite: set that to "
                "postgresql://HOST/NAME, or this to false if there is one replica"
            )
        return shared
