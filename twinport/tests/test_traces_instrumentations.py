"""Libraries for which an instrumentation of OpenTelemetry is installed are traced by themselves."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from twinport.settings import Identity
from twinport.traces import TracesSettings, tracing
from twinport.traces.instrumentations import instrumented

from support.process import executed, started

TEA = """
def brew():
    return "tea"
"""
INSTRUMENTATION = """
import logging
import tea
from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class TeaInstrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []

    def _instrument(self, **kwargs):
        logging.getLogger("tea").warning("the kettle is on")
        self.original, tracer = tea.brew, trace.get_tracer("tea")
        tea.brew = tracer.start_as_current_span("brew")(tea.brew)

    def _uninstrument(self, **kwargs):
        tea.brew = self.original

class BrokenInstrumentor(TeaInstrumentor):
    def _instrument(self, **kwargs):
        raise ValueError("no water")
"""


class Site:
    """A folder with a library and its instrumentation, as an installer leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tea.py").write_text(TEA)
        (folder / "tea_instrumentation.py").write_text(INSTRUMENTATION)
        self.has("tea", "1.2")

    def has(self, name: str, version: str, *lines: str, **entries: str) -> None:
        about = self.folder / f"{name}-{version}.dist-info"
        about.mkdir()
        said = "\n".join((f"Name: {name}", f"Version: {version}", *lines))
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\n{said}\n")
        listed = "\n".join(f"{key} = tea_instrumentation:{each}" for key, each in entries.items())
        (about / "entry_points.txt").write_text(f"[opentelemetry_instrumentor]\n{listed}\n")

    def instruments(self, wanted: str, **entries: str) -> None:
        needed = f'Requires-Dist: {wanted}; extra == "instruments"'
        self.has("tea_instrumentation", "3", "Provides-Extra: instruments", needed, **entries)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    yield Site(tmp_path)
    for name in ("tea", "tea_instrumentation"):
        sys.modules.pop(name, None)


@pytest.fixture
def warned() -> Iterator[list[str]]:
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    yield lines
    logger.remove(sink)


def spans_of_a_cup(**variables: str) -> list[str]:
    """Return the names of the spans of one call of the library, and see that none comes later."""
    exporter, settings = InMemorySpanExporter(), TracesSettings(exporter="none")
    with tracing(settings, Identity(name="teashop")) as ours:
        ours.add(SimpleSpanProcessor(exporter))
        tea: Any = import_module("tea")
        with instrumented(variables):
            tea.brew()
        names = [span.name for span in exporter.get_finished_spans()]
        tea.brew()
        assert len(exporter.get_finished_spans()) == len(names)
    return names


def test_a_library_whose_instrumentation_is_installed_is_traced(site: Site, warned: list[str]):
    site.instruments("tea>=1", tea="TeaInstrumentor")
    assert (spans_of_a_cup(), warned) == (["brew"], [])


@pytest.mark.parametrize("names", ["tea", "coffee, tea", "*"])
def test_the_usual_variable_leaves_libraries_out(site: Site, names: str):
    site.instruments("tea>=1", tea="TeaInstrumentor")
    assert spans_of_a_cup(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=names) == []


OURS = ["fastapi", "httpx", "httpx2", "logging", "grpc_aio_client", "grpc_server"]


@pytest.mark.parametrize("name", OURS)
def test_what_is_done_already_is_not_done_again(site: Site, name: str):
    site.instruments("tea>=1", **{name: "TeaInstrumentor"})
    assert spans_of_a_cup() == []


def test_a_library_that_is_not_there_is_no_news(site: Site, warned: list[str]):
    site.instruments("coffee>=1", tea="TeaInstrumentor")
    assert (spans_of_a_cup(), warned) == ([], [])


def test_a_version_that_does_not_fit_is_one_line(site: Site, warned: list[str]):
    site.instruments("tea>=2", tea="TeaInstrumentor")
    assert spans_of_a_cup() == []
    (line,) = warned
    assert line.startswith("traces: tea is not traced: ")
    assert "tea>=2" in line
    assert "tea 1.2" in line


def test_an_instrumentation_that_fails_is_one_line(site: Site, warned: list[str]):
    site.instruments("tea>=1", broken="BrokenInstrumentor", tea="TeaInstrumentor")
    assert spans_of_a_cup() == ["brew"]
    assert "traces: broken is not traced: ValueError: no water\n" in warned


async def test_a_started_service_uses_them(site: Site, monkeypatch: pytest.MonkeyPatch):
    site.instruments("tea>=1", tea="TeaInstrumentor")
    monkeypatch.setenv("PYTHONPATH", str(site.folder))
    async with started(start=executed) as service:
        await service.ports()
        await service.logged("the kettle is on")
        service.terminate()
        assert await service.exit_status() == 0
