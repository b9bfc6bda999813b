"""The manifests, without a cluster: rendered, against schemas and the restricted profile."""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.baking import Bake, Run, uncomment_monitoring

VERSIONS = ("1.34", "1.37")  # the oldest in which preStop's sleep is stable, and the newest
OVERLAYS = ("development", "production")

Manifest = dict[str, Any]
Render = Callable[[Path, str], str]


@pytest.fixture(scope="session")
def render(finds_nothing: Run) -> Render:
    """Renders an overlay, or another folder of kubernetes/, as `kubectl apply -k` does."""

    def render(service: Path, folder: str) -> str:
        return finds_nothing("kubectl", "kustomize", f"deploy/kubernetes/{folder}", cwd=service)

    return render


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, service: Path, render: Render) -> list[Manifest]:
    return [*yaml.safe_load_all(render(service, f"overlays/{request.param}"))]


def of(kind: str, manifests: list[Manifest]) -> list[Manifest]:
    return [each for each in manifests if each["kind"] == kind]


def pod_of(manifests: list[Manifest]) -> Manifest:
    (deployment,) = of("Deployment", manifests)
    pod: Manifest = deployment["spec"]["template"]
    return pod


def containers(pod: Manifest) -> Iterator[Manifest]:
    yield from pod["spec"].get("initContainers", [])
    yield from pod["spec"]["containers"]


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_has_the_fields_that_kubernetes_knows_and_no_others(
    service: Path, render: Render, finds_nothing: Run, tmp_path: Path, overlay: str, version: str
):
    (tmp_path / "all.yaml").write_text(render(service, f"overlays/{overlay}"))
    finds_nothing("kubernetes-validate", "--strict", "-k", version, "all.yaml", cwd=tmp_path)


def test_a_field_that_kubernetes_does_not_know_would_be_found(
    service: Path, render: Render, finds_nothing: Run, tmp_path: Path
):
    wrong = render(service, "overlays/production").replace("maxSurge:", "maxSurges:")
    (tmp_path / "all.yaml").write_text(wrong)
    with pytest.raises(AssertionError, match="maxSurges"):
        finds_nothing(
            "kubernetes-validate", "--strict", "-k", VERSIONS[0], "all.yaml", cwd=tmp_path
        )


def broken_rules(pod: Manifest) -> Iterator[str]:
    """Yield what the profile `restricted` of the Pod Security Standards forbids."""
    spec, security = pod["spec"], pod["spec"].get("securityContext", {})
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    if not security.get("runAsNonRoot") or security.get("runAsUser") == 0:
        yield "runAsNonRoot"
    if security.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    allowed = {"configMap", "emptyDir", "projected", "secret", "persistentVolumeClaim", "name"}
    yield from (volume["name"] for volume in spec["volumes"] if set(volume) - allowed)
    for container in containers(pod):
        yield from _broken_by(container)


def _broken_by(container: Manifest) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "allowPrivilegeEscalation"
    capabilities = security.get("capabilities", {})
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield "capabilities"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"


def test_every_pod_keeps_to_the_restricted_profile_and_writes_nowhere(manifests: list[Manifest]):
    pod = pod_of(manifests)
    assert [*broken_rules(pod)] == []
    assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in containers(pod))
    assert pod["spec"]["automountServiceAccountToken"] is False
    (namespace,) = of("Namespace", manifests)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_pod_that_breaks_the_restricted_profile_would_be_found(manifests: list[Manifest]):
    pod = pod_of(manifests)
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    spec["hostNetwork"] = True
    spec["volumes"].append({"name": "root", "hostPath": {"path": "/"}})
    del spec["securityContext"]["seccompProfile"], container["securityContext"]["capabilities"]
    found = ["hostNetwork", "seccompProfile", "root", "capabilities"]
    assert [*broken_rules(pod)] == found


def test_what_is_named_elsewhere_is_there(manifests: list[Manifest]):
    """Selectors find the pods, and ports and the ConfigMap are called what they are called."""
    pod = pod_of(manifests)
    labels, ports = pod["metadata"]["labels"], pod["spec"]["containers"][0]["ports"]
    names = {port["name"] for port in ports}
    for service in of("Service", manifests):
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names
    for kind, field in (("NetworkPolicy", "podSelector"), ("PodDisruptionBudget", "selector")):
        for each in of(kind, manifests):
            assert each["spec"][field] == {"matchLabels": labels}
    (config,) = of("ConfigMap", manifests)
    mounted = [each["configMap"]["name"] for each in pod["spec"]["volumes"] if "configMap" in each]
    assert mounted == [config["metadata"]["name"]]
    container = pod["spec"]["containers"][0]
    probes = [container[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")]
    assert {probe["port"] for probe in probes} <= names
    assert [probe["path"] for probe in probes] == ["/livez", "/readyz", "/livez"]


def test_the_ports_are_those_of_the_settings_and_probes_reach_them(manifests: list[Manifest]):
    (config,) = of("ConfigMap", manifests)
    default, production = (
        tomllib.loads(config["data"][f"{name}.toml"]) for name in ("default", "production")
    )
    (container,) = pod_of(manifests)["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {name: default[name]["port"] for name in ("http", "grpc", "management")}
    environment = {each["name"]: each["value"] for each in container["env"]}
    opened = environment.get("ORDER_BOOK__MANAGEMENT__HOST", production["management"]["host"])
    assert opened == "0.0.0.0"


def test_the_settings_of_the_cluster_are_the_files_in_config(
    service: Path, manifests: list[Manifest]
):
    (config,) = of("ConfigMap", manifests)
    files = service.glob("config/*.toml")
    assert config["data"] == {path.name: path.read_text(encoding="utf-8") for path in files}


def test_a_mistake_in_the_settings_is_found_before_the_service_starts(manifests: list[Manifest]):
    spec = pod_of(manifests)["spec"]
    (check,) = (each for each in spec["initContainers"] if each["args"] == ["config", "check"])
    (container,) = spec["containers"]
    assert check["env"][:2] == container["env"][:2]
    assert all(mount in container["volumeMounts"] for mount in check["volumeMounts"])


def test_production_has_two_replicas_of_which_one_may_go(service: Path, render: Render):
    manifests = [*yaml.safe_load_all(render(service, "overlays/production"))]
    (scaler,), (budget,) = (
        of(kind, manifests) for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget")
    )
    (deployment,) = of("Deployment", manifests)
    assert "replicas" not in deployment["spec"], "each apply would undo what the autoscaler did"
    assert scaler["spec"]["minReplicas"] == 2
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_callers_over_grpc_see_each_replica(manifests: list[Manifest]):
    (service,) = (s for s in of("Service", manifests) if s["metadata"]["name"].endswith("-grpc"))
    assert service["spec"]["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in service["spec"]


def test_prometheus_finds_the_management_port(bake: Bake, render: Render):
    service = bake()
    uncomment_monitoring(service)
    manifests = [*yaml.safe_load_all(render(service, "overlays/production"))]
    (monitor,) = of("ServiceMonitor", manifests)
    labels, (endpoint,) = monitor["spec"]["selector"]["matchLabels"], monitor["spec"]["endpoints"]
    found = [s for s in of("Service", manifests) if _has(s["metadata"].get("labels", {}), labels)]
    assert [port["name"] for s in found for port in s["spec"]["ports"]] == [endpoint["port"]]
    assert monitor["metadata"]["namespace"] == found[0]["metadata"]["namespace"]


def _has(labels: Manifest, wanted: Manifest) -> bool:
    return wanted.items() <= labels.items()


@pytest.mark.parametrize(
    ("store", "there"),
    [
        ("sql", {"migrate", "overlays/development", "overlays/production"}),
        ("redis", {"overlays/development", "overlays/production"}),
        ("memory", {"overlays/development"}),
    ],
)
def test_every_store_is_deployed_as_it_can_be(
    bake: Bake, render: Render, finds_nothing: Run, tmp_path: Path, store: str, there: set[str]
):
    service = bake(store=store)
    folders = ("migrate", *(f"overlays/{overlay}" for overlay in OVERLAYS))
    kubernetes = service / "deploy/kubernetes"
    assert {folder for folder in folders if (kubernetes / folder).exists()} == there
    for folder in there:
        (tmp_path / "all.yaml").write_text(render(service, folder))
        finds_nothing("kubernetes-validate", "--strict", "all.yaml", cwd=tmp_path)


def test_the_job_that_migrates_has_what_the_pods_have(service: Path, render: Render):
    pods = [*yaml.safe_load_all(render(service, "overlays/production"))]
    (job,) = of("Job", [*yaml.safe_load_all(render(service, "migrate"))])
    pod, migrating = pod_of(pods), job["spec"]["template"]
    assert [*broken_rules(migrating)] == []
    (container,), (migrate,) = (each["spec"]["containers"] for each in (pod, migrating))
    for field in ("image", "volumeMounts", "securityContext"):
        assert migrate[field] == container[field]
    assert migrating["spec"]["volumes"] == pod["spec"]["volumes"]
    assert migrating["metadata"]["labels"] != pod["metadata"]["labels"], "or it would be called"


def test_replicas_share_no_file_of_sqlite(service: Path, render: Render):
    manifests = [*yaml.safe_load_all(render(service, "overlays/production"))]
    (config,) = of("ConfigMap", manifests)
    assert tomllib.loads(config["data"]["production.toml"])["database"]["shared"] is True
    for container in containers(pod_of(manifests)):
        told = {each["name"]: each["value"] for each in container["env"]}
        assert told["ORDER_BOOK_ENV"] == "production"
        assert "ORDER_BOOK__DATABASE__SHARED" not in told
