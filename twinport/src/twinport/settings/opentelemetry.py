"""OpenTelemetry's own variables, for people and platforms that set them: below ours, above files.

Names and values: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from .layers import Layer, Text, Texts
from .types import SettingsRoot

USUAL_EXPORTER = "zipkin"  # as in the settings of traces
SAMPLERS = {
    "always_on": "1",
    "always_off": "0",
    "parentbased_always_on": "1",
    "parentbased_always_off": "0",
}
RATIO_SAMPLERS = frozenset({"traceidratio", "parentbased_traceidratio"})
ENDPOINTS = {
    "zipkin": {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": ""},
    "otlp": {"OTEL_EXPORTER_OTLP_ENDPOINT": "/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""},
}  # the later one of two counts, each with what it needs at its end
IDENTITY = {
    "service.name": "service__name",
    "service.version": "service__version",
    "service.instance.id": "service__instance",
    "deployment.environment.name": "service__environment",
}


def layer(
    model: type[SettingsRoot],
    variables: Mapping[str, str],
    below: Sequence[Layer],
    above: Sequence[Layer],
) -> Layer:
    """Return what they say; which endpoint has a meaning depends on the exporter in force."""
    named = variables.get("OTEL_TRACES_EXPORTER", "").strip()
    chosen = [*map(_exporter, below), named, *map(_exporter, above)]
    exporter = next(filter(None, reversed(chosen)), USUAL_EXPORTER)
    known = [text for text in _texts(variables, exporter) if _section(text) in model.model_fields]
    return Texts(model, known, "__")


def _exporter(layer: Layer) -> str:
    traces = layer.values.get("traces")
    return str(traces.get("exporter", "")) if isinstance(traces, Mapping) else ""


def _section(text: Text) -> str:
    return text.key.partition("__")[0]


def _texts(variables: Mapping[str, str], exporter: str) -> Iterator[Text]:
    """Yield what they say about our settings, as far as they have a meaning for `exporter`."""
    yield from _identity(variables)
    yield from _endpoint(variables, exporter)
    yield from _sampling(variables)
    if names := variables.get("OTEL_PROPAGATORS"):
        chosen = [name.strip() for name in names.split(",") if name.strip() != "none"]
        yield Text("OTEL_PROPAGATORS", "traces__propagators", str(chosen))
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Text("OTEL_SDK_DISABLED", "traces__exporter", "none")
    elif kind := variables.get("OTEL_TRACES_EXPORTER"):
        yield Text("OTEL_TRACES_EXPORTER", "traces__exporter", kind.strip())


def _identity(variables: Mapping[str, str]) -> Iterator[Text]:
    name = "OTEL_RESOURCE_ATTRIBUTES"
    for pair in variables.get(name, "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() in IDENTITY:
            yield Text(name, IDENTITY[key.strip()], unquote(value.strip()))
    if known := variables.get("OTEL_SERVICE_NAME"):
        yield Text("OTEL_SERVICE_NAME", "service__name", known)


def _endpoint(variables: Mapping[str, str], exporter: str) -> Iterator[Text]:
    for name, end in ENDPOINTS.get(exporter, {}).items():
        if url := variables.get(name):
            yield Text(name, "traces__endpoint", url.removesuffix("/") + end if end else url)


def _sampling(variables: Mapping[str, str]) -> Iterator[Text]:
    sampler = variables.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler in SAMPLERS:
        yield Text("OTEL_TRACES_SAMPLER", "traces__sample_ratio", SAMPLERS[sampler])
    elif sampler in RATIO_SAMPLERS:
        ratio = variables.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
        yield Text("OTEL_TRACES_SAMPLER_ARG", "traces__sample_ratio", ratio)
