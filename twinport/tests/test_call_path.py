"""How many files of the library one call enters: whoever follows it has to open them."""

import re
from pathlib import Path

import pytest

from support.call_path import SOURCE, call_paths

PAGE = (Path(__file__).parents[1] / "docs/architecture.md").read_text("utf-8")
MOST = {"REST": 20, "gRPC": 12}


async def test_a_call_enters_few_files_and_those_that_the_page_names():
    paths = await call_paths()
    assert {transport for transport in paths if len(paths[transport]) > MOST[transport]} == set()
    for transport, path in paths.items():
        line = re.search(f"^- {transport}.*", PAGE, re.MULTILINE)
        assert line
        assert set(re.findall(r"`([^`]+)`", line[0])) == path.keys()


@pytest.mark.parametrize(
    "room", sorted({path.name for path in SOURCE.iterdir() if not path.name.startswith("_")})
)
def test_the_page_says_what_is_in_each_package_and_module(room: str):
    assert room == "py.typed" or f"`{room}" in PAGE
