"""A service in a real cluster: applied, rolled out under load, rolled back, frozen, evicted."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.baking import TEMPLATE
from tools.backend import wait_until
from twinport.testing import Running

from .cluster import Cluster, Manifest
from .deployed import (
    BAD,
    FIRST,
    IMAGE,
    NAME,
    NEXT,
    REPLICAS,
    Deployed,
    image_of,
    is_ready,
    is_running,
)
from .sandbox import PATIENCE_S

pytestmark = pytest.mark.kubernetes

LOAD = Path(__file__).with_name("load.py")
MONITOR = TEMPLATE / ".build/kubernetes/servicemonitors.yaml"
KINDS = ("grpc", "kept", "post")  # of calls
WAIT_S = 300
TEMPLATE_OF_PODS = ("--type=json", "--dry-run=server", f"deployment/{NAME}")


@contextmanager
def calls(deployed: Deployed, service: Path, environment: dict[str, str]) -> Iterator[Running]:
    """Call on both transports, by way of what is ready, without a pause."""
    support = os.pathsep.join(map(str, (LOAD.parents[1] / "deploy", TEMPLATE / "twinport/tests")))
    kubectl = deployed.command()
    load = deployed.cluster.sandbox.on_its_network(service / ".venv/bin/python", LOAD, *kubectl)
    with Running(load, service, environment | {"PYTHONPATH": support}) as running:
        for name in (NAME, f"{NAME}-grpc"):
            running.logged(f"ready of {name}: {REPLICAS}", seconds=WAIT_S)
        os.kill(running.pid, signal.SIGUSR1)
        yield running


def test_everything_is_applied_without_a_warning(deployed: Deployed):
    assert len(deployed.printed) >= 3
    assert [text for text in deployed.printed if "Warning" in text] == []


def test_a_pod_that_breaks_the_restricted_profile_would_be_warned_of(deployed: Deployed):
    wrong = [{"op": "remove", "path": "/spec/template/spec/securityContext"}]
    said = deployed.kubectl("patch", *TEMPLATE_OF_PODS, f"--patch={json.dumps(wrong)}")
    assert 'Warning: would violate PodSecurity "restricted:' in said


def test_the_operator_of_prometheus_would_read_every_field_of_the_service_monitor(
    deployed: Deployed,
):
    kept = deployed.monitor(MONITOR)
    assert kept == deployed.baked_monitor(), "the cluster drops the fields that it does not know"
    assert [text for text in deployed.printed if "Warning" in text] == []


def test_the_autoscaler_sees_to_two_pods_which_share_a_store(deployed: Deployed):
    one, other = deployed.ready()
    created = deployed.create_order(one)
    assert deployed.get_order(other, created)["id"] == created


def test_no_call_fails_on_either_transport_while_a_version_is_rolled_out(
    deployed: Deployed, service: Path, environment: dict[str, str]
):
    with calls(deployed, service, environment) as running:
        for kind in KINDS:
            running.logged(f"{kind} 100", seconds=WAIT_S)
        deployed.apply(NEXT)
        deployed.rolled_out()
        for kind in KINDS:
            running.logged(f"{kind} {answered_so_far(running, kind) + 200}", seconds=WAIT_S)
        assert running.stop(WAIT_S) == 0
    ended = running.lines[-1]
    print(f"rolled out under load: {json.dumps(ended['answered'])}")
    assert ended["failed"] == []
    assert {image_of(pod) for pod in deployed.ready()} == {f"{IMAGE}:{NEXT}"}
    for pod in deployed.ready():
        log = deployed.log(pod)
        assert "POST /v1/orders" in log
        assert "OrderService/CreateOrder" in log


def answered_so_far(running: Running, kind: str) -> int:
    """Return how many calls of a kind were answered, in whole hundreds."""
    words = [line["message"].split() for line in list(running.lines)]
    return max(int(word[1]) for word in words if word[0] == kind)


def test_a_version_that_is_never_ready_takes_no_call_and_is_rolled_back(deployed: Deployed):
    old = names(deployed.ready())
    version = image_of(deployed.ready()[0])
    deployed.apply(BAD)

    def bad() -> list[Manifest]:
        return [pod for pod in deployed.pods() if image_of(pod) == f"{IMAGE}:{BAD}"]

    wait_until(lambda: any(map(is_running, bad())), PATIENCE_S, deployed.told)
    unready = "Readiness probe failed: HTTP probe failed with statuscode: 503"
    wait_until(lambda: unready in deployed.kubectl("get", "events"), PATIENCE_S, deployed.told)
    assert names(deployed.ready()) == old, "the old pods go on"
    assert deployed.create_order(deployed.ready()[0])
    deployed.kubectl("rollout", "undo", f"deployment/{NAME}")
    deployed.rolled_out()
    assert names(deployed.ready()) == old
    assert {image_of(pod) for pod in deployed.ready()} == {version}
    assert "conflict" in deployed.refused_apply(FIRST), "the image is what `rollout undo` says"
    deployed.apply(FIRST, "--force-conflicts")
    deployed.rolled_out()


def names(pods: list[Manifest]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}


def test_a_frozen_process_is_restarted_while_the_other_pod_answers(
    cluster: Cluster, deployed: Deployed
):
    frozen, other = deployed.ready()
    name = frozen["metadata"]["name"]
    cluster.sandbox.run("kill", "-STOP", str(cluster.process_of(frozen)))
    wait_until(lambda: not is_ready(deployed.pod(name)), PATIENCE_S, deployed.told)
    assert deployed.create_order(other)
    wait_until(lambda: restarts(deployed.pod(name)) == 1, PATIENCE_S, deployed.told)
    wait_until(lambda: is_ready(deployed.pod(name)), PATIENCE_S, deployed.told)
    assert names(deployed.ready()) == names([frozen, other])
    assert restarts(deployed.pod(other["metadata"]["name"])) == 0
    assert "failed liveness probe" in deployed.kubectl("get", "events")


def restarts(pod: Manifest) -> int:
    (status,) = pod["status"]["containerStatuses"]
    restarted: int = status["restartCount"]
    return restarted


def test_a_second_pod_is_not_evicted_before_the_first_one_has_a_successor(deployed: Deployed):
    first, second = deployed.ready()
    deployed.evict(first)
    why = deployed.refused_eviction(second)
    assert "TooManyRequests" in why, "which is status 429"
    assert "disruption budget" in why
    deployed.rolled_out()
    assert names([second]) < names(deployed.ready())
    deployed.evict(second)
    deployed.rolled_out()
