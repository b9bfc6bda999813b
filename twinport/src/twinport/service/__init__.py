"""The whole: all parts put together, their settings, and the process that they live in."""
