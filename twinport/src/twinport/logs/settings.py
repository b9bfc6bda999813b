"""Settings of the log: levels, what is redacted, and each kind of sink."""

import pkgutil
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FilePath, HttpUrl, SecretStr, field_validator, model_validator

from ..redact import NAMES, Redactor, redactor_of
from ..settings import Duration, Port, Section, Size

Level = Literal["TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL", "OFF"]


class CommonSink(Section):
    """What every sink can be told."""

    enabled: bool = True
    """Whether the sink is there at all."""
    level: Level = "TRACE"
    """The least level that it takes, of what `logs.level` and `logs.levels` let through."""
    include: tuple[str, ...] = ()
    """Only lines of these loggers and of those below them; empty means all."""
    exclude: tuple[str, ...] = ()
    """No lines of these loggers and of those below them."""
    queue_size: Size = 8 << 20
    """How much may wait while the sink is slow or away; what comes then is dropped and counted."""


class ConsoleSink(CommonSink):
    """The terminal, or whatever collects the output of the process."""

    kind: Literal["console"] = "console"
    """Which kind of sink this is."""
    stream: Literal["stderr", "stdout"] = "stderr"
    """Where to write."""
    format: Literal["auto", "text", "json"] = "auto"
    """Text for people, or JSON (Elastic Common Schema); auto is text on a terminal only."""


class FileSink(CommonSink):
    """A file, for one process alone."""

    kind: Literal["file"]
    """Which kind of sink this is."""
    path: Path
    """The file that is written now; the older ones lie beside it, with their time in the name."""
    format: Literal["text", "json"] = "json"
    """Text for people, or JSON (Elastic Common Schema)."""
    rotate_size: Annotated[Size, Field(ge=1)] = 100 << 20
    """Begin a new file when this one would become larger."""
    rotate_every: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(days=1)
    """Begin a new file this often, counted from midnight UTC."""
    compress: bool = True
    """Whether older files are compressed (gzip)."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] = 14
    """Delete older files when their last line is this many days old."""


class SinkTls(Section):
    """TLS towards a collector; its certificate must be for its host name."""

    ca: FilePath | None = None
    """Certificates (PEM) to trust; without it those that the system trusts."""
    certificate: FilePath | None = None
    """Our own certificate (PEM), where the collector asks for one."""
    key: FilePath | None = None
    """The key (PEM) of our own certificate."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or none")
        return self


class RemoteSink(CommonSink):
    """What is shipped over the network, at least once where the other side acknowledges."""

    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=5)
    """How long to wait for the collector, each time, before trying again."""
    queue_dir: Path | None = None
    """Keep on disk, in this folder, what is not yet acknowledged; without it, in memory."""
    tls: SinkTls | None = None
    """TLS; without it plain text, or for https what the system trusts."""


class LogstashSink(RemoteSink):
    """An input of Logstash: beats (acknowledged), or tcp with codec json_lines (not so)."""

    kind: Literal["logstash"]
    """Which kind of sink this is."""
    host: str
    """Where Logstash listens."""
    port: Port = 5044
    """The port of the input."""
    protocol: Literal["beats", "tcp"] = "beats"
    """The kind of input; plain tcp loses what was under way when the other side goes away."""


class HttpSink(RemoteSink):
    """A collector that takes JSON arrays by POST, like the http input of Logstash."""

    kind: Literal["http"]
    """Which kind of sink this is."""
    url: HttpUrl
    """Where to post; any 2xx status acknowledges."""
    username: str = ""
    """Name for basic authentication; empty means none."""
    password: SecretStr = SecretStr("")
    """Password for basic authentication."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """More headers, such as an API key."""

    @field_validator("url")
    @classmethod
    def _without_user(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password:
            raise ValueError("has a user name in it: say it in username and password")
        return url


class HookSink(CommonSink):
    """Any callable: called once with the options, it returns what is called with each line."""

    kind: Literal["hook"]
    """Which kind of sink this is."""
    callable: str
    """What to call, as "package.module:name"."""
    options: dict[str, SecretStr | bool | int | float] = Field(default_factory=dict)
    """Keyword arguments for it; texts are never shown, as they may be secrets."""

    @field_validator("callable")
    @classmethod
    def _is_there(cls, name: str) -> str:
        if ":" not in name:
            raise ValueError('must be written "package.module:name"')
        try:
            hook = pkgutil.resolve_name(name)
        except Exception as error:  # importing runs what somebody else wrote
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if not callable(hook):
            raise ValueError(f"{name} cannot be called")
        return name


Sink = Annotated[
    ConsoleSink | FileSink | LogstashSink | HttpSink | HookSink, Field(discriminator="kind")
]


def _console_alone() -> dict[str, Sink]:
    return {"console": ConsoleSink()}


class RedactSettings(Section):
    """What is masked, besides tokens, private keys, users in URLs and card numbers."""

    keys: tuple[str, ...] = NAMES
    """Values whose key contains one of these are masked; case and `-` or `_` do not matter. The
    short ones of the default have to be the last word of the key: `pin` is not in `shipping`."""
    patterns: tuple[str, ...] = ()
    """Regular expressions; what they match is masked, too."""

    def redactor(self) -> Redactor:
        """Return what masks that."""
        return redactor_of(self.keys, self.patterns)

    @field_validator("patterns")
    @classmethod
    def _compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r}: {error}") from error
        return patterns


class LogsSettings(Section):
    """What is logged, and where to."""

    level: Level = "INFO"
    """The least level that is logged, where `levels` names no other."""
    levels: dict[str, Level] = Field(default_factory=dict)
    """Levels of single loggers and of those below them; `access` is the line of each call."""
    redact: RedactSettings = RedactSettings()
    """Secrets that must not be logged, nor be in spans."""
    capture_stderr: bool = True
    """Whether lines that gRPC's C core writes to stderr become records of `grpc.core`; false leaves
    stderr alone, and with it the last words of C code that aborts the process."""
    sinks: dict[str, Sink] = Field(default_factory=_console_alone)
    """Where the lines go, by name; `console` is there unless it is disabled."""

    @model_validator(mode="before")
    @classmethod
    def _keep_the_console(cls, tables: Any) -> Any:
        if not isinstance(tables, Mapping) or not isinstance(tables.get("sinks", {}), Mapping):
            return tables
        sinks = dict(tables.get("sinks", {}))
        console = sinks.get("console", {})
        if isinstance(console, Mapping):
            sinks["console"] = {"kind": "console", **console}
        return {**tables, "sinks": sinks}
