"""OpenTelemetry's own variables, for people and platforms that set them: below ours, above files.

Names and values: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

from .layers import Assignment, Assignments, Layer
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
    "service.name": "name",
    "service.version": "version",
    "service.instance.id": "instance",
    "deployment.environment.name": "environment",
}


def layer(
    model: type[SettingsRoot],
    variables: Mapping[str, str],
    below: Sequence[Layer],
    above: Sequence[Layer],
) -> Layer:
    """Return what they say; which endpoint has a meaning depends on the exporter in force."""
    variable = variables.get("OTEL_TRACES_EXPORTER", "").strip()
    named = [*map(_exporter, below), variable, *map(_exporter, above)]
    exporter = next(filter(None, reversed(named)), USUAL_EXPORTER)
    assignments = [*_identity(variables), *_traces(variables, exporter)]
    return Assignments(model, [each for each in assignments if each.path[0] in model.model_fields])


def _exporter(layer: Layer) -> str:
    traces = layer.values.get("traces")
    return str(traces.get("exporter", "")) if isinstance(traces, Mapping) else ""


def _identity(variables: Mapping[str, str]) -> Iterator[Assignment]:
    variable = "OTEL_RESOURCE_ATTRIBUTES"
    for pair in variables.get(variable, "").split(","):
        attribute, _, value = pair.partition("=")
        if key := IDENTITY.get(attribute.strip()):
            yield Assignment(variable, ("service", key), unquote(value.strip()))
    if name := variables.get("OTEL_SERVICE_NAME"):
        yield Assignment("OTEL_SERVICE_NAME", ("service", "name"), name)


def _traces(variables: Mapping[str, str], exporter: str) -> Iterator[Assignment]:
    """Yield what they say of traces, as far as it has a meaning for `exporter`."""
    for name, end in ENDPOINTS.get(exporter, {}).items():
        if url := variables.get(name):
            endpoint = url.removesuffix("/") + end if end else url
            yield Assignment(name, ("traces", "endpoint"), endpoint)
    yield from _sampling(variables)
    if names := variables.get("OTEL_PROPAGATORS"):
        propagators = [name.strip() for name in names.split(",") if name.strip() != "none"]
        yield Assignment("OTEL_PROPAGATORS", ("traces", "propagators"), str(propagators))
    if variables.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Assignment("OTEL_SDK_DISABLED", ("traces", "exporter"), "none")
    elif kind := variables.get("OTEL_TRACES_EXPORTER"):
        yield Assignment("OTEL_TRACES_EXPORTER", ("traces", "exporter"), kind.strip())


def _sampling(variables: Mapping[str, str]) -> Iterator[Assignment]:
    ratio = ("traces", "sample_ratio")
    sampler = variables.get("OTEL_TRACES_SAMPLER", "").strip()
    if sampler in SAMPLERS:
        yield Assignment("OTEL_TRACES_SAMPLER", ratio, SAMPLERS[sampler])
    elif sampler in RATIO_SAMPLERS:
        argument = variables.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
        yield Assignment("OTEL_TRACES_SAMPLER_ARG", ratio, argument)
