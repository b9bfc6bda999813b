"""The sections that every service has; each is typed by the part that it configures."""

from pydantic import Field

from ..calls.gate import CallSettings
from ..clients.settings import ClientSettings
from ..lifecycle import LifecycleSettings
from ..logs import LogsSettings
from ..management import ManagementSettings
from ..rest.settings import HttpSettings
from ..rpc import GrpcSettings
from ..settings import Identity, SettingsRoot
from ..traces import TracesSettings


class RuntimeSettings(SettingsRoot):
    """What every service can be told."""

    service: Identity
    """Who this service is."""

    http: HttpSettings = HttpSettings()
    """The REST port."""

    grpc: GrpcSettings = GrpcSettings()
    """The gRPC port."""

    management: ManagementSettings = ManagementSettings()
    """The management port."""

    calls: CallSettings = CallSettings()
    """Bounds of a call on either transport."""

    clients: dict[str, ClientSettings] = Field(default_factory=dict)
    """The services that this one calls, each under the name that the code calls it by."""

    logs: LogsSettings = LogsSettings()
    """Log lines and where they go."""

    traces: TracesSettings = TracesSettings()
    """Spans and where they go."""

    lifecycle: LifecycleSettings = LifecycleSettings()
    """The waits of a stop."""
