"""Processes that have a network, mounts and process ids of their own, and that end all at once."""

import subprocess
from pathlib import Path

HOST = "10.99.0.1"  # its address, which pods reach, too
PATIENCE_S = 300
NAMESPACES = ("--mount", "--net", "--pid")
INIT = ("unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "cat")
# Where something would be left on the machine: sockets, links to logs, the addresses of pods.
OF_ITS_OWN = ("/run", "/var/log", "/var/lib")


class Sandbox:
    """Begins with `cat` as process 1; when that reads the end of its input, all are killed.

    So they end, too, if this process is killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pipe = subprocess.PIPE
        self._init = subprocess.Popen(INIT, stdin=pipe, stdout=pipe, bufsize=0)
        assert self._init.stdin
        assert self._init.stdout
        self._init.stdin.write(b"\n")
        assert self._init.stdout.read(1) == b"\n"  # all namespaces are there
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
        self.pid = int(children.read_text())
        for place in OF_ITS_OWN:
            self.run("mount", "-t", "tmpfs", "tmpfs", place)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{HOST}/32", "dev", "lo")

    def close(self) -> None:
        """End all of it."""
        assert self._init.stdin
        assert self._init.stdout
        self._init.stdin.close()
        self._init.wait(PATIENCE_S)
        self._init.stdout.close()

    def inside(self, *words: str | Path) -> list[str | Path]:
        """Return a command that runs another one inside."""
        return ["nsenter", f"--target={self.pid}", *NAMESPACES, "--", *words]

    def on_its_network(self, *words: str | Path) -> list[str | Path]:
        """Return a command that runs another one outside, but for what it connects to."""
        return ["nsenter", f"--target={self.pid}", "--net", "--", *words]

    def run(self, *words: str | Path, text: str = "") -> str:
        """Run a command inside, which must succeed; return what it printed, warnings included."""
        return succeed(self.inside(*words), text)

    def start(self, name: str, *words: str | Path) -> "subprocess.Popen[bytes]":
        """Start a process inside; what it prints is in `NAME.log`."""
        with self.log(name).open("ab") as log:
            nothing = subprocess.DEVNULL
            return subprocess.Popen(self.inside(*words), stdin=nothing, stdout=log, stderr=log)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def succeed(words: list[str | Path], text: str = "") -> str:
    """Run a command; return what it printed, warnings included."""
    done = finished(words, text)
    assert done.returncode == 0, f"{words}: {done.stdout}"
    return done.stdout


def finished(words: list[str | Path], text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, whatever comes of it."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(words, input=text, text=True, check=False, **both)
