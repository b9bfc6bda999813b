"""gRPC: the server, reflection and the health protocol."""

from .server import RpcServer
from .settings import GrpcSettings

__all__ = ["GrpcSettings", "RpcServer"]
