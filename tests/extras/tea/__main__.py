"""Command line of the service."""

import sys

import twinport

from .app import Settings, build

if __name__ == "__main__":
    sys.exit(twinport.main(Settings, build))
