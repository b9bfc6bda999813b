"""Whatever a file, a variable or an argument says: settings, or lines for the operator."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sample.settings import Settings as ServiceSettings
from twinport.settings import Loaded, introspection
from twinport.settings.introspection import dotted
from twinport.settings.reference import as_json, as_text, toml

from support.sample_settings import Folder, Settings


def keys(kind: Any) -> list[str]:
    own = list(introspection.fields(kind))
    return own + [key for inner in introspection.fields(kind).values() for key in keys(inner)]


KEYS = st.sampled_from(sorted({*keys(Settings), "prot", "kind", "a.b", "", '"', "é", "\n"}))
PLAIN = st.one_of(
    st.sampled_from(["console", "file", "DEBUG", "10s", "4MiB", "https://a:b@c", "x", ""]),
    st.text(max_size=5).filter(lambda text: text.isprintable()),
    st.integers(-1, 70000),
    st.booleans(),
    st.floats(allow_nan=True),
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)


def outcome(folder: Folder, model: type[Any] = Settings) -> Loaded[Any] | list[str]:
    mistakes = folder.mistakes(model)
    return mistakes or folder.load(model)


def in_a_folder(table: dict[str, Any], text: str = "", **variables: str) -> Any:
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        lines = [f"{dotted((key,))} = {toml(value)}" for key, value in table.items()]
        folder.write("development", "\n".join(lines) + text)
        folder.variables = variables
        return outcome(folder)


def is_in_order(found: Any) -> bool:
    if isinstance(found, Loaded):
        return bool(as_text(found)) and bool(as_json(found))
    return all(line.isprintable() and ": " in line for line in found)


@given(TABLES)
def test_toml_of_any_shape_is_taken_or_named(table):
    assert is_in_order(in_a_folder(table))


@given(st.text(max_size=40))
def test_any_text_in_place_of_toml_is_taken_or_named(text):
    assert is_in_order(in_a_folder({}, text.encode("utf-8", "replace").decode()))


@given(st.lists(KEYS.filter(str.isprintable), max_size=4), st.text(max_size=8) | VALUES.map(toml))
def test_any_variable_with_our_prefix_is_taken_or_named(path, text):
    name = "__".join(["ORDER_BOOK", *path])
    assert is_in_order(in_a_folder({}, "", **{name: text}))


@given(st.text(max_size=12) | st.builds("{}.{}={}".format, KEYS, KEYS, VALUES.map(toml)))
def test_any_assignment_is_taken_or_named(assignment):
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.assignments = [assignment]
        assert is_in_order(outcome(folder))


def places(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inside = {
        **introspection.fields(kind),
        **({"a": entry} if (entry := introspection.item_type(kind)) else {}),
    }
    for name, inner in inside.items():
        yield (*path, name)
        yield from places(inner, (*path, name))


PLACES = st.sampled_from([dotted(path) for path in places(ServiceSettings)])


@pytest.mark.filterwarnings("ignore:Possible nested set")  # of a pattern; its author is told so
@given(st.lists(st.builds("{}={}".format, PLACES, VALUES.map(toml)), max_size=6))
def test_any_value_anywhere_in_the_settings_of_the_service_is_taken_or_named(assignments):
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path))
        folder.assignments = assignments
        assert is_in_order(outcome(folder, ServiceSettings))


@given(st.integers(0, 20), st.integers(0, 20))
def test_the_line_that_is_named_is_the_line_of_the_mistake(above, below):
    text = "#\n" * above + "[http]\n" + "\n" * below + "port = 70000\n" + "# port = 1\n" * below
    (mistake,) = in_a_folder({}, text)
    assert mistake.startswith(f"config/development.toml:{above + below + 2}: http.port: ")
