"""The schema and the reference: every setting there is, with its default, unit and meaning."""

import re
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from pydantic import BaseModel, Field

import twinport
from sample.settings import Settings
from twinport.settings import Duration, SettingsRoot, introspection
from twinport.settings.introspection import descriptions
from twinport.settings.reference import json_schema, reference, schema_of_one_file

from support.places import SAMPLE, TESTS
from support.sample_settings import Folder, Settings as Sample, Waits

ROOT = SAMPLE
ENVIRONMENTS = sorted(path.stem for path in (ROOT / "config").glob("*.toml"))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?! )", "", text)


@pytest.mark.parametrize("model", [Sample, Settings])
def test_the_reference_is_commented_toml(model):
    text = reference(model)
    assert tomllib.loads(text) == {}
    assert tomllib.loads(uncommented(text))


def test_the_reference_tells_default_unit_and_meaning():
    text = reference(Sample)
    assert '# Bytes.\n# a size, such as "4MiB"\n#body = "1MiB"\n' in text
    assert "# Port.\n# a whole number; at least 0; at most 65535\n#port = 50051\n" in text
    assert "#ratio = 1.0\n" in text
    assert '# File.\n# text; required\n#certificate = ""\n' in text


class Plain(SettingsRoot):
    """Settings without a key that must be said."""

    waits: Waits = Waits()
    """Times."""
    ratio: float = 0.5
    """A number."""


def fail() -> int:
    raise OSError("not here")


class Made(SettingsRoot):
    """Settings whose defaults are made."""

    waits: Waits = Field(default_factory=Waits)
    """Times."""
    maybe: Waits | None = Field(default_factory=partial(Waits))
    """Times, or none."""
    names: list[str] = Field(default_factory=lambda: ["a"])
    """Names."""
    time: Duration = Field(default_factory=lambda: timedelta(seconds=3))
    """A duration."""
    number: int = Field(default_factory=int)
    """A number."""
    double: int = Field(default_factory=lambda settings: settings["number"] * 2)
    """Another."""
    different: str = Field(default_factory=lambda: str(uuid4()))
    """Another each time."""
    failing: int = Field(default_factory=fail)
    """Another on each machine."""


def test_a_default_that_is_made_is_told_if_it_is_always_the_same():
    properties = json_schema(Made)["properties"]
    told = {name: each["default"] for name, each in properties.items() if "default" in each}
    waits = Waits().model_dump(mode="json")
    assert told == {"waits": waits, "maybe": waits, "names": ["a"], "time": "3s", "number": 0}
    text = reference(Made)
    assert '#names = ["a"]\n' in text
    assert '#time = "3s"\n' in text
    assert "# text; not set by default\n#different" in text


def test_the_defaults_in_the_reference_are_those_in_force(folder):
    expected = folder.load(Plain).settings
    text = uncommented(reference(Plain))
    folder.write("default", text.replace('name = ""', 'name = "order-book"'))
    settings = folder.load(Plain).settings
    assert (settings.waits, settings.ratio) == (expected.waits, expected.ratio)


def plain_fields(kind: Any, path: str) -> Iterator[tuple[str, str | None]]:
    for each in filter(is_model, introspection.alternatives(kind)):
        described = descriptions(each)
        for name, field in each.model_fields.items():
            yield f"{path}.{name}", field.description or described.get(name)
            yield from plain_fields(field.annotation, f"{path}.{name}")
    if entry := introspection.item_type(kind):
        yield from plain_fields(entry, f"{path}.NAME")


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def test_every_field_of_every_model_is_described():
    fields = list(plain_fields(Settings, "settings"))
    assert len(fields) > 50
    assert [path for path, description in fields if not description] == []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_editors_are_told_fits_every_file(environment):
    text = (ROOT / f"config/{environment}.toml").read_text(encoding="utf-8")
    jsonschema.validate(tomllib.loads(text), schema_of_one_file(Settings))
    assert text.startswith("#:schema ./settings.schema.json\n")


PARTS = [  # of one file; whether an editor has nothing to say
    ('[logs.sinks.a]\npath = "said here, kind elsewhere"', True),
    ('[logs.sinks.a]\nkind = "file"\npath = "f"', True),
    ("[logs.sinks.a]\ncolor = true", False),
    ('[waits]\ndrain = "5s"', True),
    ("[waits]\ndrain = 5", False),
    ("[http]\nprot = 1", False),
    ("[http]\nport = 65536", False),
]


@pytest.mark.parametrize(("text", "fits"), PARTS)
def test_an_editor_sees_mistakes_but_asks_no_file_for_everything(text, fits):
    jsonschema.Draft202012Validator.check_schema(schema_of_one_file(Sample))
    validator = jsonschema.Draft202012Validator(schema_of_one_file(Sample))
    assert validator.is_valid(tomllib.loads(text)) is fits


def test_the_schema_writes_defaults_as_people_do():
    definitions = json_schema(Sample)["$defs"]
    assert definitions["Waits"]["properties"]["drain"]["default"] == "5s"
    assert definitions["Listener"]["properties"]["body"]["default"] == "1MiB"


def test_the_page_about_settings_is_up_to_date():
    page = (TESTS.parent / "docs/settings.md").read_text(encoding="utf-8")
    assert page == f"# Settings\n\n```toml\n{reference(twinport.Settings)}```\n"
