"""A real Elasticsearch, of the distribution that Maven Central has, with its security."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from stack.jobs.api import Api, ApiError
from tools.backend import started
from twinport.testing import free_port

BUILD = Path(__file__).parents[2] / ".build/stack"
JAVA = Path(__file__).parent / "java"
START_S = 400
PASSWORD = "of-the-superuser"
OPTIONS = "-Xms512m -Xmx512m -XX:TieredStopAtLevel=1"
SETTINGS = """
cluster.name: test
node.name: test
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {folder}/data
path.logs: {folder}/logs
xpack.security.enabled: true
xpack.security.enrollment.enabled: false
xpack.security.http.ssl.enabled: false
xpack.security.transport.ssl.enabled: false
cluster.routing.allocation.disk.threshold_enabled: false
"""
DESCRIPTOR = """
description=GET /
version=1
name=twinport-root
classname=twinport.RootPlugin
java.version=21
elasticsearch.version={version}
"""


class Node(Api):
    """A started server, asked as its superuser."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(self.url, "elastic", PASSWORD)

    def is_up(self) -> bool:
        """Tell whether it has started, its users included."""
        try:
            self.send("GET", "/_security/_authenticate")
        except (ApiError, OSError):
            return False
        return True

    def as_user(self, user: str, password: str) -> Api:
        return Api(self.url, user, password)


@contextmanager
def elasticsearch() -> Iterator[Node]:
    """Keep a server running; raises TimeoutError."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk makes it slow to index
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="elasticsearch-") as folder,
        _serving(Path(folder)) as node,
    ):
        yield node


@contextmanager
def _serving(folder: Path) -> Iterator[Node]:
    home = installed()
    port = free_port()
    config = shutil.copytree(home / "config", folder / "config")
    text = SETTINGS.format(http=port, transport=free_port(), folder=folder)
    (config / "elasticsearch.yml").write_text(text, encoding="utf-8")
    variables = {
        "ES_JAVA_HOME": str(java_home()),
        "ES_PATH_CONF": str(config),
        "ES_JAVA_OPTS": OPTIONS,
    }
    _set_password(home, variables)
    node = Node(port)
    command = (*_not_as_root(), str(home / "bin/elasticsearch"))
    with started(command, node.is_up, START_S, **variables):
        yield node


@cache
def installed() -> Path:
    """Return the home of the server, unpacked, with the plugin that it needs."""
    (archive,) = BUILD.glob("elasticsearch-*.zip")
    home = BUILD / archive.stem
    if not (home / "plugins/twinport-root").exists():
        shutil.rmtree(home, ignore_errors=True)
        _run("unzip", "-q", str(archive), "-d", str(BUILD))
        _add_plugin(home)
    return home


def java_home() -> Path:
    """Return the home of a JDK of 21 or newer; `make test-stack` says where."""
    return Path(os.environ["STACK_JAVA"])


def compiled(sources: list[Path], to: Path, *jars: str) -> Path:
    """Compile Java, and return the folder of its classes."""
    to.mkdir(parents=True, exist_ok=True)
    classpath = os.pathsep.join(jars)
    _run(str(java_home() / "bin/javac"), "-d", str(to), "-cp", classpath, *map(str, sources))
    return to


def _add_plugin(home: Path) -> None:
    classes = compiled([JAVA / "RootPlugin.java"], BUILD / "classes/plugin", f"{home}/lib/*")
    part = home / "plugins/.twinport-root"
    part.mkdir(parents=True)
    jar = str(java_home() / "bin/jar")
    _run(jar, "cf", str(part / "twinport-root.jar"), "-C", str(classes), ".")
    descriptor = DESCRIPTOR.format(version=home.name.removeprefix("elasticsearch-"))
    (part / "plugin-descriptor.properties").write_text(descriptor, encoding="utf-8")
    part.rename(home / "plugins/twinport-root")


def _set_password(home: Path, variables: dict[str, str]) -> None:
    keystore = str(home / "bin/elasticsearch-keystore")
    _run(*_not_as_root(), keystore, "create", **variables)
    words = ("add", "-x", "-f", "bootstrap.password")
    _run(*_not_as_root(), keystore, *words, said=PASSWORD, **variables)


def _not_as_root() -> tuple[str, ...]:
    """Return what starts a command as somebody else who has the same files: it refuses root."""
    if os.geteuid() != 0:
        return ()
    return ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def _run(*words: str, said: str = "", **variables: str) -> None:
    done = subprocess.run(
        words,
        env=os.environ | variables,
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
