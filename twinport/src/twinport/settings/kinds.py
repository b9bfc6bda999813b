"""What settings are made of: sections, durations, sizes, ports, and who the service is."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ..redact import Redactor, usual
from .quantities import PortNumber, WrittenDuration, WrittenSize, http_url

Duration = Annotated[timedelta, WrittenDuration]  # as in "250ms", "1h30m"
Size = Annotated[int, WrittenSize]  # in bytes, as in "8MiB"
Port = Annotated[int, PortNumber]  # 0 means any free one
Url = Annotated[str, AfterValidator(http_url)]  # of http or https; empty means none


class Section(BaseModel):
    """A table of settings; the docstring below each field is its description (descriptions.py)."""

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
        """Take keywords only: `load` brings its own layers."""
        return (init_settings,)
