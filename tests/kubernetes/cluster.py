"""A cluster of Kubernetes in a sandbox: its control plane, and one node with pods on a bridge.

Its programs are built by `make proof-kubernetes`; runc and the plugins of CNI are Debian's.
Nothing of it is on a network of this machine.
"""

import json
from pathlib import Path
from typing import Any

from tests.baking import TEMPLATE
from tools.backend import wait_until

from .sandbox import HOST, PATIENCE_S, Sandbox, finished, succeed

PROGRAMS = (TEMPLATE / ".build/kubernetes/bin").resolve()
KUBECTL = (TEMPLATE / ".build/checks/bin/kubectl").resolve()
CGROUPS = Path("/sys/fs/cgroup")
NODE, TOKEN = "node", "of-nobody-else"
API, ETCD = f"https://{HOST}:6443", f"http://{HOST}:2379"
PAUSE = "localhost/pause:1"
POD_NETWORK = "10.244.0.0/24"
# What the kubelet would set for the whole machine.
KERNEL = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0}
KERNEL |= {"kernel/panic": 10, "kernel/panic_on_oops": 1}

Manifest = dict[str, Any]

KUBECONFIG = f"""
apiVersion: v1
kind: Config
clusters: [{{name: test, cluster: {{server: "{API}", insecure-skip-tls-verify: true}}}}]
users: [{{name: test, user: {{token: {TOKEN}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
current-context: test
"""
NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_NETWORK}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}
CONTAINERD = """
version = 3
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  disable_apparmor = true
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "{folder}/cni"
"""
KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": HOST,
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
    "cgroupDriver": "cgroupfs",
    "enforceNodeAllocatable": [],
    "failCgroupV1": False,
    "failSwapOn": False,
    "makeIPTablesUtilChains": False,
    "localStorageCapacityIsolation": False,
    "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
    "imageGCHighThresholdPercent": 100,
    "containerRuntimeEndpoint": "unix:///run/containerd.sock",
    "nodeStatusUpdateFrequency": "2s",
}


class Cluster:
    """Started by `start`, and stopped wholly by the end of its sandbox and by `clear`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.folder = sandbox, sandbox.folder
        self.kubeconfig = self.folder / "kubeconfig"
        self._groups = f"twinport-{sandbox.pid}"  # of its containers

    def start(self, images: Path) -> None:
        """Start it, with the images of an archive on its node."""
        self._start_control_plane()
        self._start_containerd(images)
        self._start_kubelet()
        self.kubectl("wait", "--for=condition=Ready", "--timeout=2m", f"node/{NODE}")

    def clear(self) -> None:
        """Remove the control groups, in which nothing is left once the sandbox has ended."""
        for groups in self._hierarchies():
            inner = sorted(groups.rglob("*/"), reverse=True)
            for folder in (*inner, *([groups] if groups.exists() else [])):
                folder.rmdir()

    def kubectl(self, *words: str | Path, text: str = "") -> str:
        """Run kubectl, which must succeed; return what it printed, warnings included."""
        return succeed(self.kubectl_command(*words), text)

    def kubectl_command(self, *words: str | Path) -> list[str | Path]:
        """Return a command of kubectl for this cluster."""
        given = (KUBECTL, f"--kubeconfig={self.kubeconfig}")
        return self.sandbox.on_its_network(*given, *words)

    def refused(self, *words: str | Path, text: str = "") -> str:
        """Run kubectl, which must fail; return why."""
        done = finished(self.kubectl_command(*words), text)
        assert done.returncode, done.stdout
        return done.stdout

    def ctr(self, *words: str | Path) -> str:
        """Run a command of containerd's own client."""
        address = ("--address=/run/containerd.sock", "--namespace=k8s.io")
        return self.sandbox.run(PROGRAMS / "ctr", *address, *words)

    def process_of(self, pod: Manifest) -> int:
        """Return the id, inside, of process 1 of a pod's only container."""
        (status,) = pod["status"]["containerStatuses"]
        container = status["containerID"].removeprefix("containerd://")
        (task,) = (each for each in self.ctr("tasks", "list").splitlines() if container in each)
        return int(task.split()[1])

    def _hierarchies(self) -> list[Path]:
        """Return the folder of its control groups in each hierarchy; version 2 has only one."""
        is_version_2 = (CGROUPS / "cgroup.controllers").exists()
        roots = [CGROUPS] if is_version_2 else [each for each in CGROUPS.iterdir() if each.is_dir()]
        return [root / self._groups for root in roots]

    def _start_control_plane(self) -> None:
        (self.folder / "tokens").write_text(f"{TOKEN},test,test,system:masters\n")
        self.kubeconfig.write_text(KUBECONFIG)
        key = self.folder / "accounts.key"
        succeed(["openssl", "genrsa", "-out", key, "2048"])
        self._start_etcd()
        self._start(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--token-auth-file={self.folder / 'tokens'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=RBAC",
            f"--cert-dir={self.folder / 'certificates'}",
        )
        self._wait("kube-apiserver", *self.kubectl_command("get", "--raw=/readyz"))
        client = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false")
        accounts = f"--service-account-private-key-file={key}"
        self._start("kube-controller-manager", *client, accounts, "--secure-port=0")
        self._start("kube-scheduler", *client, "--secure-port=0")

    def _start_etcd(self) -> None:
        peers = f"http://{HOST}:2380"
        self._start(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",
        )

    def _start_containerd(self, images: Path) -> None:
        network = self.folder / "cni/pods.conflist"
        network.parent.mkdir()
        network.write_text(json.dumps(NETWORK))
        config = self.folder / "containerd.toml"
        config.write_text(CONTAINERD.format(folder=self.folder, pause=PAUSE))
        self._start("containerd", f"--config={config}")
        client = (PROGRAMS / "ctr", "--address=/run/containerd.sock", "version")
        self._wait("containerd", *self.sandbox.inside(*client))
        self.ctr("images", "import", images)

    def _start_kubelet(self) -> None:
        for name, value in KERNEL.items():
            file = self.folder / name.replace("/", "-")
            file.write_text(f"{value}\n")
            self.sandbox.run("mount", "--bind", file, f"/proc/sys/{name}")
        for groups in self._hierarchies():
            groups.mkdir()
        config = self.folder / "kubelet.json"
        config.write_text(json.dumps(KUBELET | {"cgroupRoot": f"/{self._groups}"}))
        self._start(
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={self.kubeconfig}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--hostname-override={NODE}",
            f"--node-ip={HOST}",
        )
        self._wait("kubelet", *self.kubectl_command("get", f"node/{NODE}"))

    def _start(self, program: str, *flags: str) -> None:
        path = f"PATH={PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin"  # the shim, runc, mount
        self.sandbox.start(program, "env", path, program, *flags)

    def _wait(self, program: str, *command: str | Path) -> None:
        def why_not() -> str:
            return self.sandbox.log(program).read_text()[-3000:]

        wait_until(lambda: finished([*command]).returncode == 0, PATIENCE_S, why_not)
