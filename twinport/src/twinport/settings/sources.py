"""Where the settings of a service are looked for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Sources:
    """Where the settings of the service in `package` come from."""

    package: str  # "order_book": its variables start with ORDER_BOOK
    folder: Path = Path("config")
    environment: str = ""  # empty: what ORDER_BOOK_ENV says, else development
    assignments: Sequence[str] = field(default=(), repr=False)  # "http.port=8080"
    secrets: Path | None = None  # None: what ORDER_BOOK_SECRETS says, else no folder
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    shared_secrets: Path = Path("/run/secrets")  # others keep files there, too

    @property
    def program(self) -> str:
        """Name of the distribution and of the command, such as "order-book"."""
        return self.package.replace("_", "-")

    @property
    def version(self) -> str:
        """Version of that distribution, "0.0.0" where it is not installed."""
        try:
            return metadata.version(self.program)
        except metadata.PackageNotFoundError:
            return "0.0.0"

    @property
    def prefix(self) -> str:
        """What names of variables and of shared secrets start with, such as "ORDER_BOOK__"."""
        return f"{self.package.upper()}__"

    @property
    def chosen_environment(self) -> str:
        """The environment whose file is read."""
        named = self.environment or self.variables.get(f"{self.package.upper()}_ENV")
        return named or "development"
