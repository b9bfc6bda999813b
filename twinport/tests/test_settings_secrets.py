"""No secret leaves through a command or an error, whoever wrote the model that it is in."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator
from typing_extensions import TypedDict  # as pydantic wants it before Python 3.12

from twinport.redact import MASK
from twinport.settings import Section
from twinport.settings.reference import as_json, as_text

from support.sample_settings import Folder, Settings

SECRET = "hunter2-correct-horse"


class Redis(BaseModel):
    """A model from elsewhere, which keeps its secrets as plain text."""

    url: str = "redis://localhost"
    password: str = ""
    pool: int = 5

    @field_validator("password")
    @classmethod
    def _tell_tales(cls, password: str) -> str:
        if password.startswith("bad"):
            raise ValueError(f"{password!r} is too simple")
        return password


@dataclasses.dataclass
class Bucket:
    """A plain dataclass."""

    name: str = "orders"
    secret_key: str = ""


class Broker(TypedDict, total=False):
    """A plain dict with known keys."""

    host: str
    api_token: str


class Orders(Section):
    """A feature."""

    redis: Redis = Redis()
    """Cache."""
    bucket: Bucket = Field(default_factory=Bucket)
    """Files."""
    broker: Broker = Field(default_factory=Broker)
    """Messages."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers."""
    logins: list[dict[str, Any]] = Field(default_factory=list)
    """Whatever."""
    endpoint: str = ""
    """URL."""
    pin: SecretStr = SecretStr("")
    """Secret."""
    token: str = ""
    """Plain text, by mistake."""
    tokens: tuple[str, ...] = ()
    """Plain texts, by mistake."""
    page_size: int = 50
    """Number."""


class Shop(Settings):
    """A service with models from elsewhere."""

    orders: Orders = Field(default_factory=Orders)
    """Feature."""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


SAID = [
    f'[auth]\nkeys = "{SECRET}"',
    f'[orders]\npin = "{SECRET}"',
    f'[orders]\ntoken = "{SECRET}"',
    f'[orders]\ntokens = ["{SECRET}"]',
    f'[orders.redis]\npassword = "{SECRET}"',
    f'[orders.redis]\nurl = "redis://user:{SECRET}@cache:6379/0"',
    f'[orders.bucket]\nsecret_key = "{SECRET}"',
    f'[orders.broker]\napi_token = "{SECRET}"',
    f'[orders.headers]\nAuthorization = "Bearer {SECRET}"',
    f'[[orders.logins]]\nuser = "x"\npassword = "{SECRET}"',
    f'[orders]\nendpoint = "https://{SECRET}@example.org/x"',
    f'[orders]\nendpoint = "https://example.org/x?a=1&access_token={SECRET}"',
]


@pytest.mark.parametrize("text", SAID)
def test_what_is_shown_holds_no_secret(folder, text):
    folder.write("development", text)
    loaded = folder.load(Shop)
    assert SECRET in folder.path.joinpath("development.toml").read_text(encoding="utf-8")
    for shown in (as_text(loaded), as_json(loaded), repr(loaded.settings.auth)):
        assert SECRET not in shown
    assert MASK in as_text(loaded)


def test_what_is_no_secret_is_shown(folder):
    folder.write("development", '[orders]\nendpoint = "https://example.org/x?a=1"')
    shown = as_text(folder.load(Shop))
    for line in (
        'orders.endpoint = "https://example.org/x?a=1"',
        'orders.redis.url = "redis://localhost"',
        'orders.redis.password = ""',
        "orders.redis.pool = 5",
        'orders.bucket.name = "orders"',
        'auth.keys = ""',
    ):
        assert line in shown


@pytest.mark.parametrize("name", ["monkey", "auth", "token"])
def test_a_table_of_ours_is_shown_whatever_somebody_calls_it(folder, name):
    folder.write("development", f'[logs.sinks.{name}]\nkind = "file"\npath = "/var/log/x"')
    assert f'logs.sinks.{name}.path = "/var/log/x"' in as_text(folder.load(Shop))


WRONG = [  # the second value is no secret, but wrong as well
    f'[auth]\nkeys = ["{SECRET}"]',
    f'[orders]\npin.x = "{SECRET}"',
    f'[auth]\nkeyz = "{SECRET}"',
    f'[orders.redis]\npassword = "bad{SECRET}"',
    f'[orders.redis]\npassword = ["{SECRET}"]',
    f'[orders]\npage_size = "{SECRET}"\npin = "{SECRET}"',
    f'[auth]\nurl = "//user:{SECRET}@host"',
    f'[logs]\nlevel = "{SECRET}"',
    f'[logs.sinks.a]\nkind = "{SECRET}"',
    f'[http]\nport = "{SECRET}"',
    f'[waits]\ndrain = "{SECRET}"',
    f'[auth]\nkeys = "{SECRET}',
    f"[auth]\nkeys = {SECRET}",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_named_without_what_was_there(folder, text):
    folder.write("development", text)
    mistakes = folder.mistakes(Shop)
    assert mistakes
    assert SECRET not in "\n".join(mistakes)


@pytest.mark.parametrize("name", ["AUTH__KEYZ", "AUTH", "HTTP__PORT", "LOGS__SINKS"])
def test_a_mistake_in_a_variable_is_named_without_its_text(folder, name):
    folder.variables[f"ORDER_BOOK__{name}"] = '{ kind = "' + SECRET + '" }'
    mistakes = folder.mistakes(Shop)
    assert mistakes
    assert SECRET not in "\n".join(mistakes)
