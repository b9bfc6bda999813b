"""JSON Schema of the settings, for editors and for the reference."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import WithDefaultSchema

from .complete import complete
from .descriptions import describe
from .quantities import Quantity


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of what `model` reads; raises SettingsError for a type of no use."""
    complete(model)
    describe(model)
    schema = model.model_json_schema(schema_generator=_WrittenDefaults)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_of_one_file(model: type[BaseModel]) -> Any:
    """Return the JSON Schema that fits each file, of which none has to say everything."""
    return _partial(json_schema(model))


def _partial(node: Any) -> Any:
    if isinstance(node, list):
        return [_partial(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {key: each for key, each in node.items() if key != "required" or isinstance(each, dict)}
    return {"anyOf" if key == "oneOf" else key: _partial(each) for key, each in kept.items()}


class _WrittenDefaults(GenerateJsonSchema):
    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        """Return a default of 5 seconds as "5s", not as ISO 8601 writes it."""
        default = super().get_default_value(schema)
        inner: Any = schema
        while "schema" in inner and "serialization" not in inner:
            inner = inner["schema"]
        write = inner.get("serialization", {}).get("function")
        owner = getattr(write, "__self__", None)
        written = isinstance(owner, type) and issubclass(owner, Quantity)
        return write(default) if written and default is not None else default
