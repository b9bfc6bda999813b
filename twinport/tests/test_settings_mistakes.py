"""Every mistake is one line: where it was said, which key, what is wrong, what would be right."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, field_validator

from twinport.settings import Section
from twinport.settings.introspection import KeyPath, walk, with_joined_keys
from twinport.settings.layers import TomlFile, parsed
from twinport.settings.reference import reference

from support.sample_settings import Folder, Settings


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


IN_A_FILE = [  # the text of config/development.toml; the line that it ends in
    ("\n[http]\nport = 70000", ":3: http.port: must be less than or equal to 65535"),
    ("[http]\nport = -1", ":2: http.port: must be greater than or equal to 0"),
    ('[http]\nport = "x"', ":2: http.port: must be a valid integer"),
    ("[http]\nprot = 1", ":2: http.prot: unknown key; did you mean http.port?"),
    ("[htpp]\nport = 1", ":1: htpp: unknown key; did you mean http?"),
    ("[htpp]\nprot = 1", ":1: htpp: unknown key; did you mean http?"),
    ("[http]\nPORT = 1", ":2: http.PORT: unknown key; did you mean http.port?"),
    ("level = 1", ":1: level: unknown key; did you mean logs.level?"),
    ("[waits]\nx = 1", ":2: waits.x: unknown key; known here: drain, limit"),
    ("[http]\nbody = 4096", ':2: http.body: a number without its unit: write "4096B"'),
    ("[waits]\ndrain = 5", ':2: waits.drain: a number without its unit: write "5s"'),
    ('[waits]\ndrain = "0s"', ':2: waits.drain: must be greater than "0s"'),
    ('[http]\ntags = "a"', ':2: http.tags: must be a list, as in ["a", "b"]'),
    ("[[http]]\nport = 1", ":1: http: must be a table"),
    ("[logs]\nsinks.a = 1", ":2: logs.sinks.a: must be a table"),
    ("[auth]\nurl = 1", ":2: auth.url: must be text, in quotes"),
    ('[http]\nhost = "a\\u0000b"', ":2: http.host: must be text in UTF-8, without NUL"),
    ("[http]\ntags = [\n1,\n]", ":4: http.tags.0: must be text, in quotes"),
    ("http = 1", ":1: http: must be a table"),
    ("[http.tls]", ":1: http.tls.certificate: missing: File."),
    ('[logs.levels]\na.b = "X"', ":2: logs.levels.\"a.b\": must be 'DEBUG' or 'INFO'"),
    ('[logs.sinks.a]\nkind = "file"', ":1: logs.sinks.a.path: missing: File."),
    ('[logs.sinks.a]\nkind = "fiel"', ":1: logs.sinks.a: 'kind' must be one of 'console', 'file'"),
    ("[logs.sinks.a]", ":1: logs.sinks.a: 'kind' is missing"),
    ('[logs.sinks.a]\nkind = "file"\npath = "f"\ncolor = 1', ":4: logs.sinks.a.color: unknown key"),
    ('[auth]\nurl = "no url"', ":2: auth.url: must be a valid URL"),
    ("[grpc]\nport = 8000", ":2: grpc.port: is the port of http, too"),
    ('[waits]\ndrain = "1m"', ':2: waits.drain: must not be longer than "limit"'),
    ("[waits]\nlimit='1s'", ':1: waits.drain: must not be longer than "limit"'),
    ("ratio = 7", ":1: ratio: must be less than or equal to 1"),
    ("[http\nport = 1", ":1:6: Expected ']'"),
    ("a = 1\na = 2", ":2:6: Cannot overwrite a value: the key is there already"),
    ('[logs.levels]\na = "INFO"\na.b = "INFO"', ":3:13: Cannot overwrite a value: the key is"),
    ("a = " + "[" * 5000, ": nested too deeply"),
    ("a = " + "1" * 5000, ": "),
]


LOOKS_LIKE_TABLES = '''
ratio = 0.5
auth.url = "x"
[http]
host = """
[no.table]
port = 1
"""
tags = [
  "a",
  "[b]",
]
  [waits]  # indented
limit = "1s"

[logs.levels]
a.b = "INFO"
[clients.one]
[clients.one.tls]
ca = "x"
'''


@pytest.mark.parametrize("more", ["", "[[clients.many]]\nurl = 1\n[[clients.many]]\nurl = 2"])
def test_a_key_stands_in_the_last_line_of_the_shortest_text_that_holds_it(tmp_path, more):
    text = LOOKS_LIKE_TABLES + more
    path = tmp_path / "default.toml"
    path.write_text(text)
    layer, lines = TomlFile(Settings, path), text.split("\n")
    expected: dict[KeyPath, int] = {}
    for number in range(1, len(lines) + 1):
        said = with_joined_keys(parsed("\n".join(lines[:number])), Settings)
        expected |= {key: number for key, _ in walk(said) if key not in expected}
    assert len(expected) > 15
    assert {key: layer.origin(key) for key in expected} == {
        key: f"{path}:{number}" for key, number in expected.items()
    }


@pytest.mark.parametrize(("text", "line"), IN_A_FILE, ids=lambda text: text[-30:])
def test_a_mistake_in_a_file_is_named_with_its_line(folder, text, line):
    folder.write("development", text)
    assert [mistake[: len(line) + 23] for mistake in folder.mistakes()] == [
        f"config/development.toml{line}"
    ]


IN_A_VARIABLE = [
    ("ORDER_BOOK__HTTP__PORT", "x", "http.port: must be a valid integer"),
    ("ORDER_BOOK__HTTP__PROT", "1", "http.prot: unknown key; did you mean http.port?"),
    ("ORDER_BOOK__HTPP__PORT", "1", "htpp.port: unknown key; did you mean http.port?"),
    ("ORDER_BOOK__GRPC_PORT", "1", "grpc_port: unknown key; did you mean grpc.port?"),
    ("ORDER_BOOK___GRPC__PORT", "1", "_grpc.port: unknown key; did you mean grpc.port?"),
    ("ORDER_BOOK__GRCP__PROT", "1", "grcp.prot: unknown key; did you mean grpc.port?"),
    ("ORDER_BOOK__HTTP__TAGS", "a,b", 'http.tags: must be a list, as in ["a", "b"]'),
    ("ORDER_BOOK__HTTP", '{"port": 1}', 'http: must be a table; within a line as in { key = "'),
    ("ORDER_BOOK__HTTP__HOST", "\udcff", "http.host: must be text in UTF-8, without NUL"),
    ("ORDER_BOOK__", "a", '"": unknown key'),
    ("ORDER_BOOK_GRPC__PORT", "1", "not a setting; did you mean ORDER_BOOK__GRPC__PORT?"),
    ("ORDERBOOK__GRPC__PORT", "1", "not a setting; did you mean ORDER_BOOK__GRPC__PORT?"),
]


@pytest.mark.parametrize(("name", "text", "line"), IN_A_VARIABLE)
def test_a_mistake_in_a_variable_is_named(folder, name, text, line):
    folder.variables[name] = text
    assert [mistake[: len(f"{name}: {line}")] for mistake in folder.mistakes()] == [
        f"{name}: {line}"
    ]


NOT_OURS = [
    "ORDER_BOOK_PORT",
    "ORDER_BOOK_GRPC_PORT",
    "ORDER_BOOK_ADMIN__HTTP__PORT",
    "ORDERS__HTTP__PORT",
    "HTTP__PORT",
    "X_ORDER_BOOK_HTTP__PORT",
]


@pytest.mark.parametrize("name", NOT_OURS)
def test_what_kubernetes_or_another_service_sets_is_not_ours(folder, name):
    folder.variables[name] = "tcp://10.0.0.1:50051"
    assert folder.mistakes() == []


def test_a_value_that_is_said_inside_another_value_is_not_lost_in_silence(folder):
    folder.variables |= {"ORDER_BOOK__HTTP__PORT": "1", "ORDER_BOOK__HTTP__PORT__X": "2"}
    assert folder.mistakes() == [
        "ORDER_BOOK__HTTP__PORT__X: http.port.x: unknown key; did you mean http.port?"
    ]


ASSIGNED = [
    ("http.port", "--set: needs KEY=VALUE"),
    ("http.port=x", "--set: http.port: must be a valid integer"),
    ("http.prot=1", "--set: http.prot: unknown key; did you mean http.port?"),
    ("=1", '--set: "": unknown key'),
]


@pytest.mark.parametrize(("assignment", "line"), ASSIGNED)
def test_a_mistake_in_an_assignment_is_named(folder, assignment, line):
    folder.assignments = [assignment]
    assert [mistake[: len(line)] for mistake in folder.mistakes()] == [line]


def test_all_secret_files_that_cannot_be_read_come_at_once(folder):
    (folder.secrets / "auth__keys").write_bytes(b"\xff")
    (folder.secrets / "http__host").write_bytes(b"\xff")
    (folder.secrets / "http__port").write_text("x", encoding="utf-8")
    assert folder.mistakes() == [
        "secrets/auth__keys: not text in UTF-8",
        "secrets/http__host: not text in UTF-8",
        "secrets/http__port: http.port: must be a valid integer",
    ]


def test_a_mistake_in_a_secret_file_is_named(folder):
    (folder.secrets / "auth__kyes").write_text("x", encoding="utf-8")
    (folder.shared_secrets / "order_book__http__port").write_text("x", encoding="utf-8")
    assert folder.mistakes() == [
        "secrets/auth__kyes: auth.kyes: unknown key; did you mean auth.keys?",
        "run/order_book__http__port: http.port: must be a valid integer",
    ]


def test_all_mistakes_of_all_layers_come_at_once(folder):
    folder.write("default", "[http]\nport = 70000\nprot = 1\n")
    folder.write("development", '[grpc]\nport = "x"\nprot = 1\n')
    folder.variables["ORDER_BOOK__LOGS__LEVEL"] = "LOUD"
    folder.assignments = ["ratio=7"]
    assert [line.partition(" ")[0] for line in folder.mistakes()] == [
        "config/default.toml:3:",
        "config/development.toml:3:",
        "config/default.toml:",
        "config/default.toml:2:",
        "config/development.toml:2:",
        "ORDER_BOOK__LOGS__LEVEL:",
        "--set:",
    ]


def test_all_files_that_cannot_be_read_come_at_once(folder):
    (folder.path / "default.toml").write_bytes(b"\xff")
    (folder.path / "development.toml").unlink()
    (folder.path / "development.toml").mkdir()
    folder.secrets.rmdir()
    assert folder.mistakes() == [
        "config/default.toml: not text in UTF-8",
        "config/development.toml: Is a directory",
        "secrets: No such file or directory",
    ]


def test_what_cannot_be_read_hides_no_other_mistake(folder):
    folder.write("default", "[http\nport = 1")
    folder.write("development", '[http]\nport = 70000\n[logs.sinks.a]\n[waits]\ndrain = "1m"')
    folder.variables = {"ORDER_BOOK_GRPC__PORT": "1", "ORDER_BOOK__HTTP__PROT": "1"}
    folder.assignments = ["http.port", "ratio=x"]
    assert [line.rpartition(": ")[0] for line in folder.mistakes()] == [
        "config/default.toml:1:6",
        "ORDER_BOOK_GRPC__PORT",
        "--set",
        "ORDER_BOOK__HTTP__PROT: http.prot",
        "config/development.toml:2: http.port",
        "--set: ratio",
    ]


class Either(Settings):
    """With a field that may be of two kinds."""

    either: int | bool = 1
    """One or the other."""


def test_a_value_that_is_of_none_of_several_kinds_is_one_mistake(folder):
    folder.assignments = ["either=x"]
    assert folder.mistakes(Either) == [
        "--set: either: must be a valid integer, or must be a valid boolean"
    ]


def test_a_file_that_was_named_must_exist(folder):
    folder.environment = "prodution"
    (folder.path / "default.toml").unlink()
    assert folder.mistakes() == [
        "config/default.toml: No such file or directory",
        "config/prodution.toml: no such file; environments are: development",
    ]


def test_a_folder_that_is_a_file_is_named(folder):
    folder.write("development", "")
    folder.path /= "development.toml"
    assert folder.mistakes() == [
        "development.toml/default.toml: Not a directory",
        "development.toml/development.toml: no such file; environments are: none",
    ]


@pytest.mark.parametrize("name", ["../default", "default", " production"])
def test_an_environment_is_a_name_and_no_path(folder, name):
    folder.environment = name
    assert folder.mistakes() == ["--env: not the name of an environment, such as production"]
    folder.environment, folder.variables["ORDER_BOOK_ENV"] = "", name
    (mistake,) = folder.mistakes()
    assert mistake.startswith("ORDER_BOOK_ENV: not the name")


class Careless(BaseModel):
    """What somebody else wrote, in a hurry."""

    address: str = "localhost:1"

    @field_validator("address")
    @classmethod
    def _split(cls, address: str) -> str:
        return address.split(":")[1]


class WithCareless(Settings):
    """With a rule that does not expect what it gets."""

    careless: Careless = Careless()
    """Foreign."""


def test_a_rule_that_fails_by_itself_is_one_line_too(folder):
    folder.write("development", '[careless]\naddress = "x"\n[http]\nprot = 1')
    unknown, broken = folder.mistakes(WithCareless)
    assert unknown.endswith("http.prot: unknown key; did you mean http.port?")
    assert broken.startswith(f"{__file__}:")
    assert broken.endswith(": _split raised IndexError")


class Tree(BaseModel):
    """What may hold itself."""

    name: str = ""
    parent: "Tree | None" = None


class WithTree(Settings):
    """With it."""

    tree: Tree = Tree()
    """Foreign."""


def test_a_table_that_may_hold_itself_is_checked_and_described(folder):
    folder.write("development", "[tree.parent.parent]\nnaem = 1\n[tree.parent]\nname = 1")
    assert folder.mistakes(WithTree) == [
        "config/development.toml:2: tree.parent.parent.naem: unknown key;"
        " did you mean tree.parent.parent.name?",
        "config/development.toml:4: tree.parent.name: must be text, in quotes",
    ]
    assert reference(WithTree).count("#[tree") == 1


class Room(Section):
    """A table that has to say something."""

    colour: str
    """Colour."""


class House(Section):
    """A feature that has to be told something, and so has a table in it."""

    key: str
    """Key."""
    room: Room = Field(default_factory=Room)
    """Made by default."""
    rooms: dict[str, "House"] = Field(default_factory=dict)
    """Others."""


class WithHouse(Settings):
    """With it, as `app.py` of a service names a feature."""

    house: House = Field(default_factory=House)
    """Made by default."""


LACKING = [  # what is said; which keys are missing
    ("", ["config/default.toml: house.key", "config/default.toml: house.room.colour"]),
    ('[house]\nkey = "k"', ["config/development.toml:1: house.room.colour"]),
    ('[house]\nkey = "k"\n[house.room]', ["config/development.toml:3: house.room.colour"]),
    (
        '[house]\nkey = "k"\nroom.colour = "red"\n[house.rooms.a]\nkey = "k"',
        ["config/development.toml:4: house.rooms.a.room.colour"],
    ),
]


@pytest.mark.parametrize(("text", "places"), LACKING)
def test_what_a_table_lacks_that_is_made_by_default_is_named_with_its_key(folder, text, places):
    folder.write("development", text)
    folder.assignments = ["ratio=7"]
    other, *lacking = folder.mistakes(WithHouse)
    assert other.startswith("--set: ratio: ")
    assert [line.partition(": missing")[0] for line in lacking] == places


def test_a_table_that_is_made_by_default_is_what_its_class_makes(folder):
    folder.write("development", '[house]\nkey = "k"\nroom.colour = "red"')
    loaded = folder.load(WithHouse)
    assert loaded.settings.house == House(key="k", room=Room(colour="red"))
    assert loaded.origins["house.rooms"] == "default"


class Opaque:
    """What pydantic knows nothing about."""


class Wrapper(BaseModel):
    """What somebody else wrote."""

    inside: Opaque | None = None
    outer: "Wrapper | None" = None

    model_config = {"defer_build": True}


class Feature(Section):
    """A feature whose settings cannot be checked."""

    fine: int = 1
    """Known."""
    wrapper: Wrapper | None = None
    """Unknown."""


def test_a_type_that_pydantic_does_not_know_is_one_line_that_names_the_field(folder):
    class Unknown(Settings):
        """A field of which is of no use."""

        feature: Feature = Feature.model_construct()

    assert len(lines := folder.mistakes(Unknown)) == 1
    assert lines[0].startswith("feature.wrapper.inside: pydantic cannot fill")
