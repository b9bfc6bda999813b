"""Print the names that no service may have; run by a Python that has all of the locks installed.

Lower-case, with hyphens: whatever Python 3.11 and later call a module of their own, and each
distribution of the locks with everything that can be imported from it. The library's lock is among
them as a service may ask for one of its extras later.
"""

import hashlib
import re
import sys
from collections.abc import Iterable
from importlib.metadata import files, packages_distributions
from pathlib import Path

NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
INSTALLERS = {"pip", "setuptools", "uv", "wheel"}  # in the service's .venv without being locked


def standard_library() -> set[str]:
    """Return the modules of every Python that mypy knows, as sys.stdlib_module_names knows one."""
    versions = next(path for path in files("mypy") or [] if path.match("typeshed/stdlib/VERSIONS"))
    lines = versions.read_text(encoding="utf-8").splitlines()
    return {line.split(":")[0].split(".")[0] for line in lines} | sys.stdlib_module_names | {"test"}


def distributions(lock: str) -> set[str]:
    """Return the names that stand before `==` in a lock, also those for other systems."""
    return set(re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE))


def as_service_names(names: Iterable[str]) -> list[str]:
    """Return those of `names` that a service could have, sorted."""
    normalised = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    return sorted(name for name in normalised if re.fullmatch(NAME, name))


if __name__ == "__main__":
    locks = "".join(Path(lock).read_text(encoding="utf-8") for lock in sys.argv[1:])
    digest = hashlib.sha256(locks.encode()).hexdigest()
    print(f"# made by `make names` from the locks with sha256 {digest}")
    taken = standard_library() | distributions(locks) | set(packages_distributions()) | INSTALLERS
    print(*as_service_names(taken), sep="\n")
