"""A small service's settings, with a kind of everything, and a folder to load them from."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AnyUrl, Field, SecretStr, model_validator

from twinport.errors import SettingsError
from twinport.settings import (
    Duration,
    Loaded,
    Port,
    Section,
    SettingsRoot,
    Size,
    Sources,
    load,
    mistake,
)

PACKAGE = "order_book"


class Tls(Section):
    """A table that may be left out."""

    certificate: str
    """File."""


class Listener(Section):
    """A port."""

    host: str = "127.0.0.1"
    """Address."""
    port: Port = 8000
    """Port."""
    tags: tuple[str, ...] = ()
    """Words."""
    body: Size = 1 << 20
    """Bytes."""
    tls: Tls | None = None
    """Certificates."""


class Console(Section):
    """A sink on the terminal."""

    kind: Literal["console"]
    """Kind."""
    colour: bool = True
    """Whether it is coloured."""


class File(Section):
    """A sink in a file."""

    kind: Literal["file"]
    """Kind."""
    path: str
    """File."""


Level = Literal["DEBUG", "INFO"]
Sink = Annotated[Console | File, Field(discriminator="kind")]


class Logs(Section):
    """Lines."""

    level: Level = "INFO"
    """Least level."""
    levels: dict[str, Level] = Field(default_factory=dict)
    """Levels of loggers."""
    sinks: dict[str, Sink] = Field(default_factory=dict)
    """Where lines go."""


class Auth(Section):
    """Who may call."""

    keys: SecretStr = SecretStr("")
    """What proves it."""
    url: AnyUrl | None = None
    """Where they are."""


class Waits(Section):
    """Times."""

    drain: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=5)
    """First."""
    limit: Duration = timedelta(seconds=30)
    """All."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.drain > self.limit:
            raise mistake("drain", 'must not be longer than "limit"')
        return self


class Settings(SettingsRoot):
    """Everything."""

    http: Listener = Listener()
    """REST."""
    grpc: Listener = Listener(port=50051)
    """gRPC."""
    logs: Logs = Logs()
    """Lines."""
    auth: Auth = Auth()
    """Who may call."""
    waits: Waits = Waits()
    """Times."""
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """A plain value at the top."""

    @model_validator(mode="after")
    def _one_port_each(self) -> Self:
        if self.http.port == self.grpc.port:
            raise mistake("grpc.port", "is the port of http, too")
        return self


class Folder:
    """A folder of settings, and what else a process is given."""

    def __init__(self, path: Path) -> None:
        self.path = path / "config"
        self.secrets = path / "secrets"
        self.shared_secrets = path / "run"
        for folder in (self.path, self.secrets, self.shared_secrets):
            folder.mkdir()
        self.variables: dict[str, str] = {}
        self.assignments: list[str] = []
        self.environment = ""
        self.write("default", '[service]\nname = "order-book"\n')
        self.write("development", "")

    def write(self, name: str, text: str) -> None:
        """Write the file of an environment."""
        (self.path / f"{name}.toml").write_text(text, encoding="utf-8")

    def load(self, model: type[Any] = Settings) -> Loaded[Any]:
        """Return what is in force; raises SettingsError."""
        sources = Sources(
            PACKAGE,
            self.path,
            self.environment,
            self.assignments,
            self.secrets,
            self.variables,
            self.shared_secrets,
        )
        return load(model, sources)

    def mistakes(self, model: type[Any] = Settings) -> list[str]:
        """Return the lines for the operator, without the path of the folder."""
        try:
            self.load(model)
        except SettingsError as error:
            return [line.replace(f"{self.path.parent}/", "") for line in error.mistakes]
        return []


Say = Callable[[Folder], object]  # puts something into a layer
