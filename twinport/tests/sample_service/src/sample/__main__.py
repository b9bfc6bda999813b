"""Command line of the service."""

import sys

from twinport import cli
from twinport.clients.command import call_command
from twinport.service import run

from .app import build
from .settings import Settings


def main() -> int:
    """Do what the command line says and return the exit status."""
    return cli.main(Settings, lambda settings: run(settings, build), [call_command()])


if __name__ == "__main__":
    sys.exit(main())
