"""Types of settings: sections, durations, sizes, ports, URLs."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import timedelta
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ..redact import Redactor, usual

MICROSECOND = timedelta(microseconds=1)
LONGEST = timedelta(days=36_500)  # sums of a few still fit what timers and timedelta can hold
# What pydantic-settings reads while `load` builds the settings; the first one counts.
SOURCES: ContextVar[Sequence[PydanticBaseSettingsSource]] = ContextVar("SOURCES", default=())


class Quantity:
    """A number with its unit; a bare number says too little and is refused."""

    noun: ClassVar[str]
    units: ClassVar[Mapping[str, int]]  # each in smallest units, the largest first
    usual: ClassVar[str]  # the unit that a bare number most likely meant
    pattern: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]

    @classmethod
    def read(cls, value: object) -> Any:
        """Return what Python works with; raises PydanticCustomError."""
        text = str(value).strip()
        if re.fullmatch(r"[0-9]{1,15}(\.[0-9]+)?", text):
            raise cls.refusal(f'a number without its unit: write "{text}{cls.usual}"')
        if not isinstance(value, str) or not re.fullmatch(cls.pattern, text):
            raise cls.refusal(f"not {cls.noun}")
        parts = re.findall(r"([0-9.]+)([A-Za-z]+)", text)
        return round(sum(Fraction(number) * cls.units[unit] for number, unit in parts))

    @classmethod
    def write(cls, value: Any) -> str:
        """Return the text that reads back as `value`."""
        parts = []
        for unit, size in cls.units.items():
            number, value = divmod(value, size)
            parts += [f"{number}{unit}"] if number else []
        return "".join(parts) or f"0{cls.usual}"

    @classmethod
    def refusal(cls, problem: str) -> PydanticCustomError:
        """Return an error that also says how such a quantity is written."""
        units, examples = ", ".join(cls.units), ", ".join(f'"{text}"' for text in cls.examples)
        return PydanticCustomError(
            "quantity",
            "{problem} (units: {units}; as in {examples})",
            {"problem": problem, "units": units, "examples": examples},
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.plain_serializer_function_ser_schema(cls.write, when_used="json")
        return core_schema.no_info_before_validator_function(
            cls.read, handler(source), serialization=text
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        examples = list(cls.examples)
        return {"type": "string", "pattern": cls.pattern, "examples": examples, "x-kind": cls.noun}


class WrittenDuration(Quantity):
    """A duration as Go writes it, and with days; the smallest unit is the microsecond."""

    noun = "a duration"
    units: ClassVar[Mapping[str, int]] = {
        "d": 86_400_000_000,
        "h": 3_600_000_000,
        "m": 60_000_000,
        "s": 1_000_000,
        "ms": 1_000,
        "us": 1,
    }
    usual = "s"
    pattern = r"^([0-9]{1,15}(\.[0-9]{1,9})?(ms|us|s|m|h|d))+$"
    examples = ("30s", "250ms", "1h30m")

    @classmethod
    def read(cls, value: object) -> timedelta:
        """Return a `timedelta`; raises PydanticCustomError."""
        if isinstance(value, timedelta):
            return value
        count: int = super().read(value)
        if count > LONGEST // MICROSECOND:
            raise cls.refusal("longer than a hundred years")
        return count * MICROSECOND

    @classmethod
    def write(cls, value: timedelta) -> str:
        """Return `value` as "1h30m"."""
        return super().write(value // MICROSECOND)


class WrittenSize(Quantity):
    """A number of bytes, with the units of IEC 80000-13."""

    noun = "a size"
    units: ClassVar[Mapping[str, int]] = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
    usual = "B"
    pattern = r"^([0-9]{1,15}(\.[0-9]{1,9})?(GiB|MiB|KiB|B))+$"
    examples = ("100B", "512KiB", "4MiB")


def http_url(text: str) -> str:
    """Refuse what no HTTP client could call, unless it is empty; raises PydanticCustomError."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        usable = False
    if text and (not usable or re.search(r"\s", text)):
        raise PydanticCustomError("url", "must be a URL, such as http://localhost:9411/path")
    return text


PortNumber = Field(ge=0, le=65535)  # grpc would take any other modulo 65536

Duration = Annotated[timedelta, WrittenDuration]  # as in "250ms", "1h30m"
Size = Annotated[int, WrittenSize]  # in bytes, as in "8MiB"
Port = Annotated[int, PortNumber]  # 0 means any free one
Url = Annotated[str, AfterValidator(http_url)]  # of http or https; empty means none


class Section(BaseModel):
    """A table of settings; the docstring below each field is its description."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,
        defer_build=True,  # `load` builds all at once, and names the field whose type is unknown
    )


class Identity(Section):
    """Who this service is, in its logs, its spans and its metrics."""

    name: str
    """Name of the service, as other services and people know it (`service.name`)."""
    version: str = ""
    """Version of the service (`service.version`); by default that of the installed package."""
    environment: str = ""
    """Where it is deployed (`deployment.environment.name`); by default what `--env` says."""
    instance: str = ""
    """Which of its replicas this is (`service.instance.id`); by default the name of its host."""


class SettingsRoot(BaseSettings, Section):
    """All settings of a service; built by `load`, or in a test from keywords alone."""

    model_config = SettingsConfigDict(arbitrary_types_allowed=False)

    service: Identity
    """Who this service is."""

    _read_again: Callable[[], Self] | None = None

    def reload(self) -> Self:
        """Return what the same files, variables and arguments say now; raises SettingsError."""
        return self._read_again() if self._read_again else self

    def warnings(self) -> Sequence[str]:
        """Return a line for each thing that is allowed, but most likely not meant."""
        return ()

    def redactor(self) -> Redactor:
        """Return what masks secrets where these settings are shown."""
        return usual()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take keywords and the layers of `load`, whose rules pydantic-settings' own lack."""
        return (init_settings, *SOURCES.get())
