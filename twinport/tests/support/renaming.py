"""The sample service with a library that has lost a name: `renaming.py LIBRARY WHEN run ...`.

WHEN is "before" the service is built, or "while" it is.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import chain
from types import FunctionType
from typing import Any

from sample.app import build
from sample.settings import Settings
from twinport import Service, main
from twinport.compatibility import NAMES, named


def rename(library: str) -> None:
    """Remove a method in the table, or a class where none can be removed."""
    for place in NAMES[library]:
        import_module(place.partition(":")[0])
    owners, name = next(chain(methods(library), classes(library)))
    for owner in owners:
        delattr(owner, name)


def methods(library: str) -> Iterator[tuple[Sequence[Any], str]]:
    for place, names in NAMES[library].items():
        kinds = getattr(named(place), "__mro__", ())
        for name in names.split():
            owners = [kind for kind in kinds if isinstance(vars(kind).get(name), FunctionType)]
            yield from [(owners, name)] if owners else []


def classes(library: str) -> Iterator[tuple[Sequence[Any], str]]:
    for place in NAMES[library]:
        module, _, name = place.partition(":")
        yield [sys.modules[module]], name.partition(".")[0]


async def build_and_rename(service: Service, settings: Settings) -> None:
    await build(service, settings)
    rename(library)


if __name__ == "__main__":
    _, library, when = sys.argv[:3]
    del sys.argv[1:3]
    if when == "before":
        rename(library)
    sys.exit(main(Settings, build_and_rename if when == "while" else build))
