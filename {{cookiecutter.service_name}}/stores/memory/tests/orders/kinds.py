"""The stores that keep what test_store.py promises, each as two replicas have it."""

from collections.abc import Mapping

from .stores import Kind, memory

KINDS: Mapping[str, Kind] = {"memory": memory}
