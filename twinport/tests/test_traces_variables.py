"""OpenTelemetry's own variables: below ours, above the files, and never ignored in silence."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from twinport import Settings, traces
from twinport.errors import SettingsError, StartupError
from twinport.settings import Identity, Loaded, Sources, load
from twinport.testing import FakeZipkin
from twinport.traces import TracesSettings, span, tracing

FILE = """
[service]
name = "from-file"
[traces]
endpoint = "http://from-file/"
sample_ratio = 0.5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "default.toml").write_text(FILE, encoding="utf-8")
    (tmp_path / "development.toml").touch()
    return tmp_path


def loaded(folder: Path, variables: dict[str, str]) -> Loaded[Settings]:
    shared = folder / "no-secrets"
    sources = Sources("shop", folder, variables=variables, shared_secrets=shared)
    return load(Settings, sources)


HONOURED = [
    ({"OTEL_SERVICE_NAME": "x"}, "service.name", "x"),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=y,k8s.pod.name=p"}, "service.name", "y"),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=a%20b"}, "service.instance", "a b"),
    ({"OTEL_EXPORTER_ZIPKIN_ENDPOINT": "http://z/spans"}, "traces.endpoint", "http://z/spans"),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4318"}, "traces.endpoint", "http://from-file/"),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "traces.exporter", "otlp"),
    ({"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, "traces.exporter", "none"),
    ({"OTEL_TRACES_SAMPLER": "always_off"}, "traces.sample_ratio", 0),
    (
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        "traces.sample_ratio",
        0.25,
    ),
    ({"OTEL_PROPAGATORS": "b3multi, baggage"}, "traces.propagators", ["b3multi", "baggage"]),
    ({"OTEL_PROPAGATORS": "none"}, "traces.propagators", []),
]


@pytest.mark.parametrize(("variables", "key", "value"), HONOURED)
def test_a_variable_of_opentelemetry_overrides_the_files(folder, variables, key, value):
    section, _, name = key.partition(".")
    assert getattr(getattr(loaded(folder, variables).settings, section), name) == value


def test_the_endpoint_for_otlp_counts_when_it_is_the_exporter(folder):
    variables = {"SHOP__TRACES__EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:4318/"}
    assert loaded(folder, variables).settings.traces.endpoint == "http://o:4318/v1/traces"
    variables["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "http://t/traces"
    assert loaded(folder, variables).settings.traces.endpoint == "http://t/traces"


def test_our_own_variable_overrides_theirs_and_show_names_the_one_in_force(folder):
    variables = {"OTEL_SERVICE_NAME": "theirs"}
    assert loaded(folder, variables).origins["service.name"] == "OTEL_SERVICE_NAME"
    variables["SHOP__SERVICE__NAME"] = "ours"
    assert loaded(folder, variables).settings.service.name == "ours"


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("OTEL_TRACES_EXPORTER", "jaeger", "traces.exporter"),
        ("OTEL_PROPAGATORS", "b3,xray", "traces.propagators"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "zipkin:9411", "traces.endpoint"),
    ],
)
def test_a_mistake_in_their_variable_is_named_by_it(folder, name, value, key):
    with pytest.raises(SettingsError) as refused:
        loaded(folder, {name: value})
    (mistake,) = refused.value.mistakes
    assert mistake.startswith(f"{name}: {key}")


def test_the_domain_may_import_spans_without_a_transport():
    program = f"import sys, {traces.__name__}; print(*sys.modules)"
    printed = subprocess.check_output([sys.executable, "-c", program], timeout=300)
    modules = set(printed.decode().split())
    assert not modules & {"fastapi", "starlette", "hypercorn", "grpc", "httpx2", "pyinstrument"}
    assert traces.__name__ in modules


@pytest.fixture
def lines() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


NOWHERE, IDENTITY = TracesSettings(exporter="none"), Identity(name="shop")


def test_what_is_not_honoured_is_named_at_the_start(monkeypatch, lines):
    monkeypatch.setenv("OTEL_EXPORTER_JAEGER_ENDPOINT", "http://jaeger")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "xray")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=secret")
    with tracing(NOWHERE, IDENTITY):
        pass
    (line,) = lines
    for name in ("JAEGER_ENDPOINT", "OTLP_HEADERS", "TRACES_SAMPLER=xray"):
        assert name in line
    assert "secret" not in line


ALWAYS, ARG = {"OTEL_TRACES_SAMPLER": "always_on"}, {"OTEL_TRACES_SAMPLER_ARG": "0.5"}
WITHOUT_MEANING = [
    (ARG, "OTEL_TRACES_SAMPLER_ARG"),
    (ALWAYS | ARG, "OTEL_TRACES_SAMPLER_ARG"),
    ({"OTEL_SDK_DISABLED": "yes"}, "OTEL_SDK_DISABLED=yes"),
    (
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "1"},
        "OTEL_SPAN_EVENT_COUNT_LIMIT (for spans of calls that are answered)",
    ),
]


@pytest.mark.parametrize(("variables", "named"), WITHOUT_MEANING)
def test_what_says_nothing_as_it_is_is_named_too(monkeypatch, lines, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with tracing(NOWHERE, IDENTITY):
        pass
    assert lines == [f"traces: set, but without effect here: {named}\n"]


def test_what_says_something_is_not_named(monkeypatch, lines):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "False")
    with tracing(NOWHERE, IDENTITY):
        pass
    assert lines == []


def test_bounds_of_the_queue_are_honoured(monkeypatch, lines):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    with FakeZipkin() as collector, tracing(TracesSettings(endpoint=collector.endpoint), IDENTITY):
        with span("work"):
            pass
        collector.wait_for_count(1, seconds=0.9)
    assert lines == []


def test_a_bound_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    with pytest.raises(StartupError, match="OTEL_BSP_MAX_QUEUE_SIZE: 'many' is no"):
        tracing(NOWHERE, IDENTITY).__enter__()
