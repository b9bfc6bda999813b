"""The ports of a service, by name."""

from typing import NamedTuple


class Ports(NamedTuple):
    """The ports in use; what a 0 in the settings became."""

    http: int
    grpc: int
    management: int
