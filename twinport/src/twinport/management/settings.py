"""Where the management port listens, and who may change something there."""

from typing import Annotated

from pydantic import Field, SecretStr

from ..settings import Port, Section


class ManagementSettings(Section):
    """The management port."""

    host: str = "127.0.0.1"
    """Address to listen on; probes need more than this machine's own."""

    port: Port = 9000
    """Port to listen on; 0 takes any free one."""

    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    """What whoever changes levels or takes profiles has to send as `Authorization: Bearer`; without
    one that is for callers on this machine alone."""
