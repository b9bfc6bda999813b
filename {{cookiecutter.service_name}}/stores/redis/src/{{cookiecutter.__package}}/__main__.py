"""Command line of the service."""

import sys

import twinport

from .app import build
from .settings import Settings


def main() -> int:
    """Do what the command line says and return the exit status."""
    return twinport.main(Settings, build)


if __name__ == "__main__":
    sys.exit(main())
