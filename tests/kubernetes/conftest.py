"""A baked service in a cluster: its images, its database, and the service as it is deployed."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.baking import TEMPLATE, installed_in
from tests.deploy import containers
from tests.stores.servers import Postgresql

from .cluster import PAUSE, POD_NETWORK, Cluster
from .deployed import BAD, FIRST, IMAGE, NEXT, Deployed
from .sandbox import HOST, Sandbox

FOLDER = TEMPLATE / ".build/kubernetes"  # kept, so that the installation is quick the next time
SLEEPS = 'FROM {base}\nENTRYPOINT ["sleep", "infinity"]\n'
NEVER_READY = (
    "FROM {image}\nENV ORDER_BOOK__DATABASE__URL=postgresql://nobody@127.0.0.1:1/nowhere\n"
)


@pytest.fixture(scope="session")
def service() -> Path:
    return installed_in(FOLDER / "baked")


@pytest.fixture(scope="session")
def images(service: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of two versions of the service, of a third that is never ready, and of `pause`."""
    base, folder = containers.base(), tmp_path_factory.mktemp("images")
    for version in (FIRST, NEXT):
        containers.build(service, base, f"{IMAGE}:{version}", VERSION=version)
    build(folder, f"{IMAGE}:{BAD}", NEVER_READY.format(image=f"{IMAGE}:{NEXT}"))
    build(folder, PAUSE, SLEEPS.format(base=base))
    archive, names = folder / "images.tar", [f"{IMAGE}:{each}" for each in (FIRST, NEXT, BAD)]
    containers.podman("save", "--multi-image-archive", "--output", archive, *names, PAUSE)
    return archive


def build(folder: Path, name: str, dockerfile: str) -> None:
    file = folder / "Dockerfile"
    file.write_text(dockerfile)
    containers.buildah("bud", *containers.BUILD, "--pull-never", "--tag", name, "-f", file, folder)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with TemporaryDirectory(prefix="kubernetes") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL has a user of its own
        sandbox = Sandbox(Path(folder))
        yield sandbox
        sandbox.close()


@pytest.fixture(scope="session")
def cluster(sandbox: Sandbox, images: Path) -> Iterator[Cluster]:
    cluster = Cluster(sandbox)
    try:
        cluster.start(images)
        yield cluster
    finally:
        sandbox.close()
        cluster.clear()


@pytest.fixture(scope="session")
def database(sandbox: Sandbox) -> str:
    """The URL of a PostgreSQL that pods can reach."""
    folder = sandbox.folder / "postgresql"
    folder.mkdir()
    server = Postgresql(folder, HOST, sandbox.inside())
    server.admit(POD_NETWORK)
    server.admit(f"{HOST}/32")
    server.start()
    return server.url


@pytest.fixture(scope="session")
def deployed(cluster: Cluster, service: Path, database: str) -> Deployed:
    """The service as deploy/README.md has it deployed for the first time: two pods are ready."""
    deployed = Deployed(cluster, service)
    deployed.first(database)
    return deployed
