"""REST: the application, and the servers that carry it."""
