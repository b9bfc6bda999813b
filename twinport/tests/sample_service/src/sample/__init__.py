"""The service that the library's tests start."""
