"""The sections that every service has; each is typed by the part that it configures."""

from collections.abc import Sequence
from typing import Self, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ..auth import AuthSettings
from ..calls import CallSettings
from ..clients.settings import ClientSettings
from ..lifecycle import LifecycleSettings
from ..logs import LogsSettings
from ..management.settings import ManagementSettings
from ..metrics.settings import MetricsSettings
from ..redact import NAMES, Redactor, redactor_of
from ..rest.settings import HttpSettings
from ..rpc.settings import GrpcSettings
from ..settings import Identity, SettingsRoot, mistake
from ..traces import TracesSettings

AT_HOME = frozenset({"", "development", "test"})  # environments in which anybody may call

Listener = TypeVar("Listener", GrpcSettings, ManagementSettings)


class Settings(SettingsRoot):
    """What every service can be told."""

    service: Identity
    """Who this service is."""

    http: HttpSettings = HttpSettings()
    """The REST port."""

    grpc: GrpcSettings = Field(default=GrpcSettings(), validate_default=True)
    """The gRPC port."""

    management: ManagementSettings = Field(default=ManagementSettings(), validate_default=True)
    """The management port."""

    calls: CallSettings = CallSettings()
    """Bounds of a call on either transport."""

    auth: AuthSettings = AuthSettings()
    """Who may call."""

    clients: dict[str, ClientSettings] = Field(default_factory=dict)
    """The services that this one calls, each under the name that the code calls it by."""

    logs: LogsSettings = LogsSettings()
    """Log lines and where they go."""

    traces: TracesSettings = TracesSettings()
    """Spans and where they go."""

    metrics: MetricsSettings = MetricsSettings()
    """What is measured."""

    lifecycle: LifecycleSettings = LifecycleSettings()
    """The waits of a stop."""

    # a rule of the fields, not of the whole: it is told also where another section is wrong
    @field_validator("grpc", "management")
    @classmethod
    def _port_of_its_own(cls, listener: Listener, info: ValidationInfo) -> Listener:
        above = {name: info.data[name].port for name in ("http", "grpc") if name in info.data}
        for name, port in above.items():
            if port == listener.port != 0:  # 0 is any free one, as often as it is asked for
                raise mistake("port", f"{port} is the port of {name}, too")
        return listener

    @model_validator(mode="after")
    def _known_by_certificate(self) -> Self:
        if self.auth.mode != "mtls":
            return self
        if self.http.server != "hypercorn":
            raise mistake(
                "http.server",
                'only hypercorn tells whose certificate it was, as auth.mode = "mtls" needs',
            )
        for name, tls in (("grpc.tls", self.grpc.tls), ("http.tls", self.http.tls)):
            if tls is None or tls.client_ca is None:
                raise mistake(f"{name}.client_ca", 'is missing: auth.mode = "mtls" needs it')
        return self

    def warnings(self) -> Sequence[str]:
        """Return a line for each thing that is allowed, but most likely not meant."""
        lines = list(super().warnings())
        if self.auth.mode == "none" and not self.auth.allow_none and not self._is_at_home:
            lines.append(
                'auth.mode: is "none", so anybody may call; if that is meant, say auth.allow_none'
            )
        return lines

    def redactor(self) -> Redactor:
        """Return what masks secrets where these settings are shown: never less than usual."""
        redact = self.logs.redact
        names = tuple(dict.fromkeys((*NAMES, *redact.keys)))
        return redactor_of(names, redact.patterns)

    @property
    def _is_at_home(self) -> bool:
        return self.service.environment in AT_HOME
