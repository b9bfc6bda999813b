"""The management port: for probes and operators, never for callers."""
