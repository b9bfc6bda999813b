"""The layers of settings: each overrides the one before, and each value knows where it is from."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel

from twinport.errors import SettingsError
from twinport.settings import Section, changed

from support.sample_settings import Folder, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def in_file(name: str, table: str) -> Callable[[Folder], object]:
    def write(folder: Folder) -> None:
        path = folder.path / f"{name}.toml"
        path.write_text(path.read_text(encoding="utf-8") + table, encoding="utf-8")

    return write


def in_secret(name: str, text: str) -> Callable[[Folder], object]:
    return lambda folder: (folder.secrets / name).write_text(text, encoding="utf-8")


def in_variable(name: str, text: str) -> Callable[[Folder], object]:
    return lambda folder: folder.variables.update({name: text})


def assigned(text: str) -> Callable[[Folder], object]:
    return lambda folder: folder.assignments.append(text)


PORTS = [  # from the lowest layer to the highest
    in_file("default", "[http]\nport = 1001"),
    in_file("development", "[http]\nport = 1002"),
    in_secret("http__port", "1003\n"),
    in_variable("ORDER_BOOK__HTTP__PORT", "1004"),
    assigned("http.port=1005"),
]
ORIGINS = [
    "config/default.toml:4",
    "config/development.toml:2",
    "secrets/http__port",
    "ORDER_BOOK__HTTP__PORT",
    "--set",
]


@pytest.mark.parametrize("layers", range(len(PORTS) + 1))
def test_each_layer_overrides_the_one_before(folder, layers):
    for say in PORTS[:layers]:
        say(folder)
    loaded = folder.load()
    origin = loaded.origins["http.port"].removeprefix(f"{folder.path.parent}/")
    assert loaded.settings.http.port == [8000, 1001, 1002, 1003, 1004, 1005][layers]
    assert origin == ["default", *ORIGINS][layers]


TABLES = [
    in_file("default", '[logs.levels]\na = "DEBUG"'),
    in_file("development", '[logs.levels]\nb = "DEBUG"'),
    in_secret("logs__levels__c", "DEBUG"),
    in_variable("ORDER_BOOK__LOGS__LEVELS", '{d = "DEBUG"}'),
    in_variable("ORDER_BOOK__LOGS__LEVELS__E", "DEBUG"),
    assigned("logs.levels.f=DEBUG"),
]


def test_tables_of_all_layers_are_merged(folder):
    for say in TABLES:
        say(folder)
    assert list(folder.load().settings.logs.levels) == list("abcdef")


LISTS = [
    in_file("default", '[http]\ntags = ["a", "b"]'),
    in_file("development", '[http]\ntags = ["c"]'),
    in_secret("http.tags", '["d"]'),
    in_variable("ORDER_BOOK__HTTP__TAGS", '["e"]'),
    assigned("http.tags=['f']"),
]


@pytest.mark.parametrize("layers", range(1, len(LISTS) + 1))
def test_a_list_is_replaced_as_a_whole(folder, layers):
    for say in LISTS[:layers]:
        say(folder)
    assert folder.load().settings.http.tags == [("a", "b"), *map(tuple, "cdef")][layers - 1]


TEXTS = [
    ("RATIO", "0.5", lambda settings: settings.ratio == 0.5),
    ("HTTP__HOST", "8.8.8.8", lambda settings: settings.http.host == "8.8.8.8"),
    ("HTTP__HOST", "[::1]", lambda settings: settings.http.host == "[::1]"),
    ("HTTP__BODY", "2MiB", lambda settings: settings.http.body == 2 << 20),
    ("HTTP__TAGS", "[]", lambda settings: settings.http.tags == ()),
    ("HTTP__TLS__CERTIFICATE", "a.pem", lambda settings: settings.http.tls.certificate == "a.pem"),
    ("HTTP", '{host = "h", port = 1}', lambda settings: settings.http.port == 1),
    ("WAITS__DRAIN", "250ms", lambda settings: settings.waits.drain == timedelta(seconds=0.25)),
    ("AUTH__KEYS", "true", lambda settings: settings.auth.keys.get_secret_value() == "true"),
    ("LOGS__SINKS__A", '{kind = "file", path = "f"}', lambda s: s.logs.sinks["a"].path == "f"),
    ("logs__level", "DEBUG", lambda settings: settings.logs.level == "DEBUG"),
]


@pytest.mark.parametrize(("name", "text", "holds"), TEXTS)
def test_a_text_is_read_by_the_type_of_its_field(folder, name, text, holds):
    folder.variables[f"ORDER_BOOK__{name}"] = text
    assert holds(folder.load().settings)


class Foreign(BaseModel):
    """Fields as other people name them."""

    redis_host: str = Field("", alias="redisHost")
    RETRIES: int = 0
    pool: int = Field(0, validation_alias=AliasChoices("size", "poolSize", AliasPath("pools", 0)))
    next: "Foreign | None" = None
    weights: RootModel[dict[str, int]] = RootModel({})


class WithForeign(Settings):
    """With fields in mixed case."""

    redis: Foreign = Foreign()
    """Foreign."""


def test_a_variable_reaches_a_field_in_mixed_case(folder):
    folder.variables["ORDER_BOOK__REDIS__REDISHOST"] = "cache"
    (folder.secrets / "redis__retries").write_text("3", encoding="utf-8")
    redis = folder.load(WithForeign).settings.redis
    assert (redis.redis_host, redis.RETRIES) == ("cache", 3)


class Remote(Section):
    """What a client is told."""

    target: str = ""
    """Address."""
    url: str = ""
    """Address, too."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Anything."""


class WithNames(Settings):
    """With tables whose keys a user chooses."""

    clients: dict[str, Remote] = Field(default_factory=dict)
    """Clients."""
    grants: dict[str, frozenset[str]] = Field(default_factory=dict)
    """Scopes."""


FREE = [  # the table that a file has, the name of a variable or a secret file, where the text goes
    ('clients.billingAPI.target = "a"', "CLIENTS__BILLINGAPI__TARGET", "clients.billingAPI.target"),
    ('clients.billingAPI.target = "a"', "CLIENTS__BILLINGAPI__URL", "clients.billingAPI.url"),
    ('clients.A.headers.X-Key = "a"', "CLIENTS__A__HEADERS__X-KEY", "clients.A.headers.X-Key"),
    ('clients.A.headers."X.Key" = "a"', "CLIENTS__A__HEADERS__X__KEY", 'clients.A.headers."X.Key"'),
    ("clients.A.options.Deep.Er = 1", "CLIENTS__A__OPTIONS__DEEP__ER", "clients.A.options.Deep.Er"),
    ('logs.levels.Order.Book = "INFO"', "LOGS__LEVELS__ORDER__BOOK", 'logs.levels."Order.Book"'),
    (
        'logs.sinks.Out = {kind = "file", path = "a"}',
        "LOGS__SINKS__OUT__PATH",
        "logs.sinks.Out.path",
    ),
    ('grants."Client A" = ["a"]', "GRANTS__CLIENT A", 'grants."Client A"'),
    ("", "CLIENTS__BillingAPI__TARGET", "clients.billingapi.target"),
]


@pytest.mark.parametrize("in_layer", ["variable", "secret"])
@pytest.mark.parametrize(("table", "name", "key"), FREE)
def test_a_name_that_a_file_has_is_found_whatever_its_case(folder, table, name, key, in_layer):
    folder.write("development", table)
    text = '["DEBUG"]' if "GRANTS" in name else "DEBUG"
    say = (
        in_variable(f"ORDER_BOOK__{name}", text)
        if in_layer == "variable"
        else in_secret(name, text)
    )
    before = set(folder.load(WithNames).origins)
    say(folder)
    loaded = folder.load(WithNames)
    assert name in loaded.origins[key]
    assert not table or set(loaded.origins) == before


def test_a_name_is_found_in_secrets_and_in_a_table_of_the_same_layer(folder):
    (folder.secrets / "clients").write_text('{billingAPI = {target = "a"}}', encoding="utf-8")
    (folder.secrets / "clients__BillingAPI__url").write_text("b", encoding="utf-8")
    folder.variables["ORDER_BOOK__CLIENTS__BILLINGAPI__HEADERS"] = '{a = "b"}'
    told = folder.load(WithNames).settings.clients
    assert told == {"billingAPI": Remote(target="a", url="b", headers={"a": "b"})}


def test_a_name_that_may_be_either_of_two_is_refused_until_its_case_tells(folder):
    folder.write("development", '[clients]\nbillingAPI.target = "a"\nBillingApi.target = "b"')
    folder.variables["ORDER_BOOK__CLIENTS__BILLINGAPI__TARGET"] = "c"
    assert folder.mistakes(WithNames) == [
        "ORDER_BOOK__CLIENTS__BILLINGAPI__TARGET: may mean BillingApi or billingAPI; "
        "write it in the case of the one that is meant"
    ]
    folder.variables = {"ORDER_BOOK__CLIENTS__billingAPI__TARGET": "c"}
    told = folder.load(WithNames).settings.clients
    assert {name: each.target for name, each in told.items()} == {
        "billingAPI": "c",
        "BillingApi": "b",
    }


@pytest.mark.parametrize("text", ["size = 7", "poolSize = 7", "pools = [7]", "next.size = 7"])
def test_any_name_counts_that_a_field_of_another_package_has(folder, text):
    folder.write("development", f"[redis]\n{text}\nweights.a = 7")
    redis = folder.load(WithForeign).settings.redis
    assert (redis.next or redis).pool == 7
    assert redis.weights.root == {"a": 7}


SPELLINGS = [
    '[logs.levels]\norder_book.orders = "DEBUG"',
    '[logs.levels]\n"order_book.orders" = "DEBUG"',
    '[logs]\nlevels."order_book.orders" = "DEBUG"',
    '[logs]\nlevels = { order_book.orders = "DEBUG" }',
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_dotted_key_and_a_quoted_one_mean_the_same(folder, text):
    folder.write("development", text)
    loaded = folder.load()
    assert loaded.settings.logs.levels == {"order_book.orders": "DEBUG"}
    assert loaded.origins['logs.levels."order_book.orders"'].endswith("development.toml:2")


def test_a_name_with_dots_can_be_assigned(folder):
    folder.assignments = ["logs.levels.order_book.orders=DEBUG", 'logs.levels."b.c"=INFO']
    levels = {"order_book.orders": "DEBUG", "b.c": "INFO"}
    assert folder.load().settings.logs.levels == levels


def test_the_environment_is_chosen_by_an_argument_or_a_variable_or_is_development(folder):
    for name in ("staging", "production"):
        folder.write(name, "")
    assert folder.load().settings.service.environment == "development"
    folder.variables["ORDER_BOOK_ENV"] = "staging"
    assert folder.load().settings.service.environment == "staging"
    folder.environment = "production"
    assert folder.load().settings.service.environment == "production"


def test_a_service_knows_who_it_is_without_being_told(folder):
    identity = folder.load().settings.service
    assert (identity.name, identity.environment) == ("order-book", "development")
    assert identity.version
    assert identity.instance


def test_what_the_file_says_of_the_service_counts(folder):
    folder.variables["ORDER_BOOK__SERVICE__VERSION"] = "7.0.0"
    assert folder.load().settings.service.version == "7.0.0"


def test_the_shared_folder_of_secrets_holds_others_too(folder):
    (folder.shared_secrets / "order_book__auth__keys").write_text("ours\n", encoding="utf-8")
    (folder.shared_secrets / "postgres_password").write_bytes(b"\xff")
    (folder.shared_secrets / "kubernetes.io").mkdir()
    assert folder.load().settings.auth.keys.get_secret_value() == "ours"


def test_every_file_in_the_named_folder_of_secrets_is_a_key(folder):
    data = folder.secrets / "..2026_01_01"
    data.mkdir()
    (data / "auth__keys").write_text("line 1\nline 2\n", encoding="utf-8")
    (folder.secrets / ".keep").write_text("", encoding="utf-8")
    (folder.secrets / "..data").symlink_to(data)
    (folder.secrets / "auth__keys").symlink_to(folder.secrets / "..data" / "auth__keys")
    assert folder.load().settings.auth.keys.get_secret_value() == "line 1\nline 2"


def test_a_byte_order_mark_does_no_harm(folder):
    (folder.path / "development.toml").write_bytes(b"\xef\xbb\xbf[http]\r\nport = 7\r\n")
    assert folder.load().settings.http.port == 7


def test_settings_that_are_read_again_name_what_has_changed(folder):
    folder.write("development", '[logs.levels]\na = "INFO"\n')
    old = folder.load().settings
    assert changed(old, old.reload()) == []
    folder.write("development", '[auth]\nkeys = "new"\n[http]\nport = 7\n')
    new = old.reload()
    assert new.http.port == 7
    assert changed(old, new) == ["http.port", "logs.levels.a", "auth.keys"]


def test_settings_that_have_become_wrong_leave_the_old_ones_in_force(folder):
    old = folder.load().settings
    folder.write("development", "[http]\nport = 70000\n")
    with pytest.raises(SettingsError, match="65535"):
        old.reload()
    assert old.http.port == 8000


def test_settings_made_of_keywords_read_nothing_else(monkeypatch):
    monkeypatch.setenv("HTTP", "{}")
    monkeypatch.setenv("RATIO", "0.5")
    settings = Settings(service={"name": "x"})
    assert (settings.ratio, settings.reload()) == (1.0, settings)
