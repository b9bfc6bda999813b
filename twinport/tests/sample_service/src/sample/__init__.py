"""The service that the library's tests start."""

from twinport import startup as startup  # first of all: from here on a signal ends the start
