"""A service in a cluster, deployed by the commands of its deploy/README.md."""

import json
import re
from pathlib import Path
from typing import cast

import yaml

from tests.baking import uncomment_monitoring
from tools.backend import wait_until

from .cluster import Cluster, Manifest
from .sandbox import PATIENCE_S, succeed

NAME, NAMESPACE = "order-book", "order-book-production"
IMAGE = f"registry.example.com/{NAME}"
FIRST, NEXT, BAD = "0.1.0", "0.2.0", "0.2.0-bad"
REPLICAS = 2


class Deployed:
    """The service; what kubectl prints when it applies something is kept."""

    def __init__(self, cluster: Cluster, service: Path) -> None:
        self.cluster, self._service = cluster, service
        self._manifests = service / "deploy/kubernetes"
        self.printed: list[str] = []

    def first(self, database_url: str) -> None:
        """Deploy the first version: namespace, secret, schema, service."""
        self._printed("apply", "--server-side", "-f", self._overlay / "namespace.yaml")
        url = f"--from-literal=database__url={database_url}"
        self.kubectl("create", "secret", "generic", NAME, url)
        self._printed("apply", "--server-side", "-k", self._manifests / "migrate")
        job = f"job/{NAME}-migrate"
        self.kubectl("wait", "--for=condition=complete", "--timeout=5m", job)
        self.apply(FIRST)
        self.rolled_out()

    @property
    def _overlay(self) -> Path:
        return self._manifests / "overlays/production"

    def monitor(self, definition: Path) -> Manifest:
        """Apply it with what Prometheus's operator reads, as that defines it; return its spec."""
        self._printed("apply", "--server-side", "-f", definition)
        self.kubectl("wait", "--for=condition=Established", "--timeout=1m", "-f", definition)
        uncomment_monitoring(self._service)
        self.apply(FIRST)
        kept = json.loads(self.kubectl("get", "servicemonitor", NAME, "-o", "json"))
        return cast("Manifest", kept["spec"])

    def baked_monitor(self) -> Manifest:
        """Return the spec that is baked for Prometheus's operator."""
        file = self._manifests / "monitoring/servicemonitor.yaml"
        return cast("Manifest", yaml.safe_load(file.read_text())["spec"])

    def apply(self, version: str, *options: str) -> None:
        """Apply the overlay with a version of the image, as CI does."""
        self._printed(*self._applying(version), *options)

    def refused_apply(self, version: str) -> str:
        """Apply it, and be refused; return why."""
        return self.cluster.refused(*self._applying(version))

    def _applying(self, version: str) -> tuple[str | Path, ...]:
        file = self._overlay / "kustomization.yaml"
        file.write_text(re.sub("newTag: .*", f"newTag: {version}", file.read_text()))
        return ("apply", "--server-side", "-k", self._overlay)

    def _printed(self, *words: str | Path) -> None:
        self.printed.append(self.cluster.kubectl(*words))

    def kubectl(self, *words: str | Path, text: str = "") -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl(f"--namespace={NAMESPACE}", *words, text=text)

    def rolled_out(self) -> None:
        """Wait until every pod is of the version that was applied last, and no other is left."""
        self.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=5m")
        wait_until(lambda: len(self.ready()) == len(self.pods()) == REPLICAS, PATIENCE_S, self.told)

    def pods(self) -> list[Manifest]:
        """Return its pods, those that are about to end included."""
        selected = f"--selector=app.kubernetes.io/name={NAME}"
        pods: list[Manifest] = json.loads(self.kubectl("get", "pods", selected, "-o", "json"))[
            "items"
        ]
        return pods

    def ready(self) -> list[Manifest]:
        return [pod for pod in self.pods() if is_ready(pod)]

    def pod(self, name: str) -> Manifest:
        (pod,) = (each for each in self.pods() if each["metadata"]["name"] == name)
        return pod

    def told(self) -> str:
        """Return what the cluster says about it."""
        return self.kubectl("get", "pods", "-o", "wide") + self.kubectl("get", "events")

    def command(self) -> list[str | Path]:
        """Return what a command of kubectl begins with."""
        return [*self.cluster.kubectl_command(), f"--namespace={NAMESPACE}"]

    def log(self, pod: Manifest) -> str:
        return self.kubectl("logs", pod["metadata"]["name"], "--container=service")

    def create_order(self, pod: Manifest) -> str:
        """Create an order over REST by one of the pods; return its id."""
        created = self._asked(pod, "", "--json", '{"sku": "tea", "quantity": 2}')
        return str(created["id"])

    def get_order(self, pod: Manifest, order_id: str) -> Manifest:
        """Get an order over REST from one of the pods."""
        return self._asked(pod, f"/{order_id}")

    def _asked(self, pod: Manifest, path: str, *options: str) -> Manifest:
        url = f"http://{pod['status']['podIP']}:8000/v1/orders{path}"
        curl = ("curl", "--silent", "--show-error", "--fail-with-body", *options, url)
        answer: Manifest = json.loads(succeed(self.cluster.sandbox.on_its_network(*curl)))
        return answer

    def evict(self, pod: Manifest) -> None:
        """Ask a pod to make place, as `kubectl drain` does."""
        command, text = _eviction(pod)
        self.cluster.kubectl(*command, text=text)

    def refused_eviction(self, pod: Manifest) -> str:
        """Ask the same, and be refused; return why."""
        command, text = _eviction(pod)
        return self.cluster.refused(*command, text=text)


def is_ready(pod: Manifest) -> bool:
    """Say whether calls are sent there; of those that end no more are."""
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def image_of(pod: Manifest) -> str:
    (container,) = pod["spec"]["containers"]
    image: str = container["image"]
    return image


def is_running(pod: Manifest) -> bool:
    """Say whether its container has started, as far as the startup probe sees."""
    return any(each["started"] for each in pod["status"].get("containerStatuses", ()))


def _eviction(pod: Manifest) -> tuple[list[str], str]:
    name = pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
    metadata = {"name": name, "namespace": NAMESPACE}
    asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    return ["create", f"--raw={path}", "-f", "-"], json.dumps(asked)
