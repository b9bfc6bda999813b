"""gRPC: the server, reflection and the health protocol."""
