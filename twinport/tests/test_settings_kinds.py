"""Durations, sizes and ports: what may be written, what is refused, what reads back."""

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from twinport.settings import Duration, Port, Section, Size, Url
from twinport.settings.types import LONGEST


class Sample(Section):
    """One field of each kind."""

    drain: Duration = timedelta(seconds=5)
    """Time."""
    body: Size = 4 << 20
    """Bytes."""
    port: Port = 0
    """Port."""
    endpoint: Url = ""
    """Where to call."""


WRITTEN = [
    ("drain", "10s", timedelta(seconds=10)),
    ("drain", "250ms", timedelta(milliseconds=250)),
    ("drain", "1h30m", timedelta(minutes=90)),
    ("drain", "1.5s", timedelta(milliseconds=1500)),
    ("drain", "14d", timedelta(days=14)),
    ("drain", "0s", timedelta()),
    ("body", "4MiB", 4 << 20),
    ("body", "512KiB", 512 << 10),
    ("body", "100B", 100),
    ("body", "4294967296B", 1 << 32),
    ("port", 65535, 65535),
    ("endpoint", "", ""),
    ("endpoint", "https://[::1]:8443/a?b", "https://[::1]:8443/a?b"),
    ("endpoint", "HTTP://localhost", "HTTP://localhost"),
]

REFUSED = [
    ("drain", 10, 'write "10s"'),
    ("drain", 0.5, 'write "0.5s"'),
    ("drain", "10", 'write "10s"'),
    ("drain", "soon", "not a duration"),
    ("drain", "-1s", "not a duration"),
    ("drain", "10 seconds", "not a duration"),
    ("drain", True, "not a duration"),
    ("drain", ["10s"], "not a duration"),
    ("drain", "999999999d999999999d", "longer than"),
    ("drain", "36500d1s", "longer than"),
    ("body", 4096, 'write "4096B"'),
    ("body", 4294967296, 'write "4294967296B"'),
    ("body", "4MB", "not a size"),
    ("body", "many", "not a size"),
    ("port", 65536, "65535"),
    ("port", -1, "0"),
    ("endpoint", "zipkin", "must be a URL"),
    ("endpoint", "ftp://localhost", "must be a URL"),
    ("endpoint", "http:///path", "must be a URL"),
    ("endpoint", "http://localhost:99999", "must be a URL"),
    ("endpoint", "http://[::1", "must be a URL"),
    ("endpoint", "http://local host", "must be a URL"),
]


@pytest.mark.parametrize(("field", "text", "value"), WRITTEN)
def test_people_write_quantities_with_their_units(field, text, value):
    assert getattr(Sample.model_validate({field: text}), field) == value


@pytest.mark.parametrize(("field", "value", "hint"), REFUSED)
def test_a_quantity_that_says_too_little_is_refused_with_the_right_spelling(field, value, hint):
    with pytest.raises(ValidationError, match=hint):
        Sample.model_validate({field: value})


@given(st.timedeltas(min_value=timedelta(), max_value=LONGEST), st.integers(0))
def test_what_is_shown_reads_back_as_the_same_value(drain, body):
    sample = Sample.model_construct(drain=drain, body=body % (1 << 59), port=0)
    assert Sample.model_validate_json(sample.model_dump_json()) == sample


def test_the_schema_tells_an_editor_how_a_quantity_is_written():
    drain = Sample.model_json_schema()["properties"]["drain"]
    assert (drain["type"], drain["examples"][0]) == ("string", "30s")
