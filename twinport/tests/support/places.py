"""Where the files are that tests start from."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
SAMPLE = TESTS / "sample_service"  # its folder, as a team has one: config/, proto/, src/
SUPPORT = TESTS / "support"
