"""The local cluster from outside: machines become nodes, nodes run pods, all of it goes again."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster import network
from localcluster.cluster import Cluster
from localcluster.commands import CommandError
from localcluster.processes import read_pid_file
from localcluster.recipes import BASE
from tests.e2e.seen import Machines, get, until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _pod(name: str, node: str, command: list[str], **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": BASE, "imagePullPolicy": "IfNotPresent"}
    spec = {
        "nodeName": node,
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        "containers": [{**container, "command": command, **more.pop("container", {})}],
        **more,
    }
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def machines(local_cluster: Cluster) -> Machines:
    return Machines(local_cluster)


@pytest.fixture(scope="module")
def gpu_machine(local_cluster: Cluster, machines: Machines) -> Iterator[str]:
    """A machine with a GPU whose node is Ready."""
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    machines.create("e2e-gpu", "local-gpu-1", labels={"mine": "x"}, taints=[taint])
    local_cluster.kubectl.wait_ready_node("e2e-gpu", 30)
    yield "e2e-gpu"
    machines.delete("e2e-gpu")


@pytest.fixture(scope="module")
def web(local_cluster: Cluster, gpu_machine: str) -> str:
    """A web server on the machine, behind a Service; the answer is its cluster IP."""
    serve = ["python3", "-m", "http.server", "8000", "--directory", "/etc/alternatives"]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web-pod"}, "ports": [{"port": 80, "targetPort": 8000}]},
    }
    local_cluster.kubectl.apply([_pod("web-pod", gpu_machine, serve), service])
    local_cluster.kubectl("wait", "--for=condition=Ready", "pod/web-pod", "--timeout=60s")
    address: str = get(local_cluster.kubectl, "service", "web")["spec"]["clusterIP"]
    return address


@pytest.fixture(scope="module")
def shell(local_cluster: Cluster) -> Callable[[str], str]:
    """Runs Python in a pod on the system node."""
    local_cluster.kubectl.apply([_pod("shell", "system", ["sleep", "infinity"])])
    local_cluster.kubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")
    return lambda code: local_cluster.kubectl("exec", "shell", "--", "python3", "-c", code)


def test_a_machine_becomes_a_node_of_its_size(local_cluster: Cluster, gpu_machine: str) -> None:
    node = get(local_cluster.kubectl, "node", gpu_machine)
    assert node["spec"]["providerID"] == f"local:///{gpu_machine}"
    assert node["status"]["capacity"]["cpu"] == "4"
    assert node["status"]["capacity"]["memory"] == "12Gi"
    labels = node["metadata"]["labels"]
    assert labels["node.kubernetes.io/instance-type"] == "local-gpu-1"
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A10"
    assert labels["mine"] == "x"
    taints = {(item["key"], item["effect"]) for item in node["spec"]["taints"]}
    assert {("sku", "NoSchedule"), ("karpenter.sh/unregistered", "NoExecute")} <= taints


def test_gpus_are_allocatable_while_they_are_healthy(
    local_cluster: Cluster, gpu_machine: str, machines: Machines
) -> None:
    def gpus() -> str:
        allocatable = get(local_cluster.kubectl, "node", gpu_machine)["status"]["allocatable"]
        return str(allocatable.get("nvidia.com/gpu"))

    until(lambda: gpus() == "1", 20)
    machines.call("PUT", "/instance-types/local-gpu-1", {"sick": True})
    until(lambda: gpus() == "0", 20)
    machines.call("PUT", "/instance-types/local-gpu-1", {"sick": False})
    until(lambda: gpus() == "1", 20)


def test_a_service_answers_pods_by_its_name(web: str, shell: Callable[[str], str]) -> None:
    code = (
        "import socket, urllib.request as r;"
        "print(socket.gethostbyname('web.default.svc.cluster.local'));"
        "print(r.urlopen('http://web/', timeout=10).status)"
    )
    assert shell(code).split() == [web, "200"]


def test_a_service_answers_the_host_as_it_answers_the_api_server(web: str) -> None:
    with urllib.request.urlopen(f"http://{web}/", timeout=10) as response:
        assert response.status == 200


def test_a_pod_reaches_the_api_server(shell: Callable[[str], str]) -> None:
    code = (
        "import ssl, urllib.request as r; d = '/var/run/secrets/kubernetes.io/serviceaccount/';"
        "c = ssl.create_default_context(cafile=d + 'ca.crt');"
        "print(r.urlopen('https://kubernetes.default.svc/version', context=c, timeout=10).status)"
    )
    assert shell(code).strip() == "200"


def test_the_cluster_is_closed(shell: Callable[[str], str]) -> None:
    code = (
        "import socket\n"
        "try: socket.create_connection(('192.0.2.1', 80), 5)\n"
        "except OSError as error: print(error)\n"
    )
    assert "unreachable" in shell(code)


def test_models_are_there_to_read_alone(local_cluster: Cluster, gpu_machine: str) -> None:
    write = ["sh", "-c", "touch /models/x 2>&1; sleep infinity"]
    mount = {"volumeMounts": [{"name": "models", "mountPath": "/models"}]}
    volume = {"name": "models", "hostPath": {"path": "/opt/kaito/models", "type": "Directory"}}
    pod = _pod("models", gpu_machine, write, container=mount, volumes=[volume])
    local_cluster.kubectl.apply([pod])
    local_cluster.kubectl("wait", "--for=condition=Ready", "pod/models", "--timeout=60s")
    until(lambda: "Read-only" in local_cluster.kubectl("logs", "models"), 10)


def test_machines_survive_the_end_of_the_daemon(
    local_cluster: Cluster, machines: Machines, gpu_machine: str
) -> None:
    daemon = read_pid_file(local_cluster.state.run / "machined.pid")
    assert daemon is not None
    machines.create("e2e-half", "local-cpu-2")
    os.kill(daemon.pid, signal.SIGKILL)
    until(lambda: not daemon.alive, 5)
    local_cluster.up()
    machine = machines.call("GET", f"/machines/{gpu_machine}")[1]
    assert machine["state"] == "Running"
    local_cluster.kubectl.wait_ready_node("e2e-half", 30)
    machines.delete("e2e-half")
    assert "e2e-half" not in local_cluster.kubectl("get", "nodes")


def test_a_deleted_machine_leaves_nothing(local_cluster: Cluster, machines: Machines) -> None:
    machines.create("e2e-short", "local-cpu-2")
    local_cluster.kubectl.wait_ready_node("e2e-short", 30)
    links = network.veths()
    machines.delete("e2e-short")
    assert len(network.veths()) == len(links) - 1
    assert not (local_cluster.state.machines / "e2e-short").exists()
    assert list(Path("/sys/fs/cgroup").glob("**/kaito-localcluster/e2e-short")) == []
    mounts = Path("/proc/self/mountinfo").read_text()
    assert "e2e-short" not in mounts
    assert "e2e-short" not in local_cluster.kubectl("get", "nodes")  # as a cloud's manager does


def test_a_second_up_changes_nothing(local_cluster: Cluster) -> None:
    before = get(local_cluster.kubectl, "node", "system")["status"]["nodeInfo"]["bootID"]
    pods = get(local_cluster.kubectl, "pods", "-n", "kube-system")["items"]
    local_cluster.up()
    assert get(local_cluster.kubectl, "node", "system")["status"]["nodeInfo"]["bootID"] == before
    again = get(local_cluster.kubectl, "pods", "-n", "kube-system")["items"]
    assert {item["metadata"]["uid"] for item in again} == {p["metadata"]["uid"] for p in pods}


def test_down_leaves_nothing_and_up_comes_back(local_cluster: Cluster) -> None:
    local_cluster.down()
    assert local_cluster.leftovers() == []
    assert not local_cluster.running
    local_cluster.up()
    with pytest.raises(CommandError, match="not found"):
        local_cluster.kubectl("get", "pod", "shell")
