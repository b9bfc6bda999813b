"""What a cluster runs in leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.baking import TEMPLATE
from tools.backend import wait_until

from .sandbox import PATIENCE_S, Sandbox

pytestmark = pytest.mark.kubernetes

KILLED = """
import os, pathlib, signal, sys
from tests.kubernetes.sandbox import Sandbox
print(Sandbox(pathlib.Path(sys.argv[1])).pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_runs_in_a_sandbox_ends_with_it_and_its_mounts_are_gone(tmp_path: Path):
    sandbox = Sandbox(tmp_path)
    sleeping = sandbox.start("sleep", "sleep", "infinity")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    sandbox.run("mount", "-t", "tmpfs", "tmpfs", mounted)
    sandbox.run("touch", mounted / "file")
    sandbox.close()
    assert sleeping.wait(PATIENCE_S) != 0
    assert [*mounted.iterdir()] == []
    assert str(mounted) not in Path("/proc/self/mounts").read_text()


def test_a_sandbox_ends_with_the_process_that_made_it_also_if_that_is_killed(tmp_path: Path):
    made = [sys.executable, "-c", KILLED, tmp_path]
    done = subprocess.run(made, cwd=TEMPLATE, capture_output=True, text=True, check=False)
    process_1 = Path("/proc") / done.stdout.strip()
    wait_until(lambda: not process_1.exists(), PATIENCE_S, lambda: done.stderr)
    assert process_1.name.isdigit()
