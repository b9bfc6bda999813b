"""Measurements of every call, of the process and of the loop, for Prometheus."""
