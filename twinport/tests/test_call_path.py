"""How many files of the library one call enters: whoever follows it has to open them."""

from support.call_path import call_paths


async def test_a_call_enters_few_files():
    paths = await call_paths()
    assert len(paths["REST"]) <= 20, [*paths["REST"]]
    assert len(paths["gRPC"]) <= 12, [*paths["gRPC"]]
