"""The names of libraries that the sources depend on are in one table, which each start checks."""

import re
from functools import cache
from importlib import import_module

import pytest

from twinport.compatibility import NAMES, check_names, missing, named

from support.foreign_names import ANYWHERE, MODULES, Name, names_in, our_attributes
from support.places import SUPPORT
from support.process import started

RENAMING = str(SUPPORT / "renaming.py")
PLACES = {place: names.split() for places in NAMES.values() for place, names in places.items()}
TABLE = {Name(place, name.removeprefix(".")) for place in PLACES for name in PLACES[place]}
WRITTEN = {name.name for name in TABLE}

# Assigned or read like a library's, but of Python's own modules, or a field of a message.
NOT_OF_LIBRARIES = {
    *("__class__", "_current_frames", "_exit", "_getframe", "_initializing", "daemon", "exc_info"),
    *("excepthook", "handlers", "levelname"),
    *("levelno", "mask", "minimum_version", "showwarning", "stderr", "unraisablehook"),
    *("verify_mode", "file_containing_symbol"),
}


@cache
def needed() -> frozenset[Name]:
    return frozenset(name for path in MODULES for name in names_in(path, {*PLACES}))


def is_in_table(name: Name) -> bool:
    if name.place != ANYWHERE:
        return name in TABLE or f"{name.place}:{name.name}" in PLACES
    return name.name in WRITTEN | our_attributes() | NOT_OF_LIBRARIES


def test_each_name_that_is_overridden_assigned_or_private_is_in_the_table():
    assert sorted(name for name in needed() if not is_in_table(name)) == []


def test_each_name_in_the_table_is_used():
    found = needed()
    somewhere = {name.name for name in found if name.place == ANYWHERE}
    unused = [name for name in TABLE - found if name.name not in somewhere]
    assert sorted(unused) == []


def test_the_installed_libraries_have_each_name():
    for place in PLACES:
        import_module(place.partition(":")[0])
    check_names()


def test_an_attribute_that_a_class_has_itself_is_looked_for_there():
    for name in (each for each in TABLE if f".{each.name}" in PLACES[each.place]):
        import_module(name.place.partition(":")[0])
        assert not hasattr(named(name.place), name.name)


@pytest.mark.parametrize("place", PLACES)
def test_another_name_is_missing_there(place: str):
    import_module(place.partition(":")[0])
    made_up = [f"{name}_renamed" for name in PLACES[place]]
    assert missing(named(place), made_up) == made_up


LINE = (
    r"sample: {} [\d.]+ has no [\w.]+(:[\w.]+)?; twinport needs it and was tested with {}[<>=~].+"
)


@pytest.mark.parametrize("library", NAMES)
async def test_a_name_that_a_library_has_lost_ends_the_start(library: str):
    async with started(RENAMING, library, "before") as service:
        assert await service.exit_status() == 1
        (line,) = service.plain
        assert re.fullmatch(LINE.format(library, library), line)


@pytest.mark.parametrize("server", ["uvicorn", "granian"])
async def test_a_name_that_a_server_has_lost_ends_the_start_although_it_is_loaded_last(server: str):
    async with started(RENAMING, server, "while", http__server=server) as service:
        assert await service.exit_status() == 1
        (line,) = service.plain
        assert re.fullmatch(LINE.format(server, server), line)
