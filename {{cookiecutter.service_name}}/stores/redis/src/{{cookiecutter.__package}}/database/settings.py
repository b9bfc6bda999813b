"""Where Redis is, and how much of it one replica takes."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from redis.asyncio.connection import parse_url
from twinport import Section
from twinport.settings import Duration


def _readable(url: SecretStr) -> SecretStr:
    """Refuse what redis-py cannot read; never says the URL itself, which is a secret."""
    try:
        parse_url(url.get_secret_value())
    except ValueError:
        raise ValueError("must be like redis://USER:PASSWORD@HOST:6379/0") from None
    return url


class DatabaseSettings(Section):
    """The Redis of all features."""

    url: Annotated[SecretStr, AfterValidator(_readable)] = SecretStr("redis://localhost:6379/0")
    """`redis://USER:PASSWORD@HOST:PORT/NUMBER`, with TLS `rediss://`."""

    pool: Annotated[int, Field(ge=1, le=1000)] = 10
    """Connections of one replica at most; a call that finds none free waits for one."""

    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=5)
    """The longest wait for a connection, new or from the pool, and for one answer."""
