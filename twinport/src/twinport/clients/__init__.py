"""Calling other services: channels and HTTP clients that keep deadlines, trace and try again."""
