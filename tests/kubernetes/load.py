"""The callers of a rollout, whom the EndpointSlices of a cluster tell which pods are ready.

`python load.py KUBECTL...`, with the Python of an installed order-book and the command by which
kubectl reaches the namespace. What it does besides, and prints: tests/deploy/rollout_load.py.
"""

import asyncio
import subprocess
import sys

from rollout_load import Balancer, main, tell

HTTP_PORT, GRPC_PORT = 8000, "50051"
# A line for each change of a slice: its service, and each address with whether it is ready.
LINE = (
    'go-template={{index .metadata.labels "kubernetes.io/service-name"}}'
    r'{{range .endpoints}} {{index .addresses 0}}={{.conditions.ready}}{{end}}{{"\n"}}'
)


async def follow(balancer: Balancer) -> None:
    """Do what kube-proxy does for REST, and the DNS of a cluster for gRPC."""
    watch = (*sys.argv[1:], "get", "endpointslices", "--watch", f"--output={LINE}")
    kubectl = await asyncio.create_subprocess_exec(*watch, stdout=subprocess.PIPE)
    assert kubectl.stdout
    try:
        while line := await kubectl.stdout.readline():
            told(line.decode(), balancer)
    finally:
        kubectl.terminate()


def told(line: str, balancer: Balancer) -> None:
    service, *endpoints = line.split()
    ready = [each.removesuffix("=true") for each in endpoints if each.endswith("=true")]
    if service == "order-book":
        balancer.for_rest = [(address, HTTP_PORT) for address in ready]
    elif service == "order-book-grpc":
        balancer.names.addresses = tuple(ready)
    tell(f"ready of {service}: {len(ready)}")


if __name__ == "__main__":
    asyncio.run(main(follow, GRPC_PORT))
