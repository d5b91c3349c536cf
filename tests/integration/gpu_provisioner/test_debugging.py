"""`kubectl describe nodeclaim` says why there is no node: the program itself, on an emulated AKS.

With TRANSCRIPTS=FOLDER each test leaves there what kubectl printed (docs/debugging.md shows it).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube.objects import NODES
from localcluster.binaries import Binaries
from tests.fakes.arm.__main__ import settings
from tests.fakes.arm.aks import Pool
from tests.integration.cloudproviders.test_azure import QUOTA, SIZE, AksCluster
from tests.integration.gpu_provisioner.test_program import free_port, program
from tests.integration.gpu_provisioner.world import eventually

pytestmark = pytest.mark.integration

Kubectl = Callable[..., Awaitable[str]]
STOCK_OUT = (
    "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone."
)


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[AksCluster]:
    found = AksCluster(kubeconfig)
    await found.install()
    await found.empty()
    await found.arm.start()
    yield found
    await found.arm.stop()
    await found.empty()
    await found.client.close()


@pytest.fixture
def kubectl(cluster: AksCluster, binaries: Binaries, request: pytest.FixtureRequest) -> Kubectl:
    """What it prints, as soon as that holds all the words asked for."""
    (path,) = binaries.paths(["kubectl"]).values()

    async def run(*words: str, until: Sequence[str] = ()) -> str:
        argv = [str(path), "--kubeconfig", str(cluster.kubeconfig), *words]

        async def printed() -> str:
            answer = await asyncio.to_thread(
                subprocess.run, argv, capture_output=True, text=True, check=True
            )
            missing = [word for word in until if word not in answer.stdout]
            assert not missing, (missing, answer.stdout)
            return answer.stdout

        seen = await eventually(printed, 30.0)
        _keep(request.node.name, f"$ kubectl {' '.join(words)}\n{seen}\n")
        return seen

    return run


def _keep(name: str, text: str) -> None:
    if folder := os.environ.get("TRANSCRIPTS"):
        with Path(folder, f"{name}.txt").open("a") as transcript:
            transcript.write(text)


IN_HASTE = """
import sys
from cloudproviders.azure import looks
from gpu_provisioner.__main__ import main
from gpu_provisioner.nodeclaim import launch
launch.SAME_WORDS_SECONDS = 0.0
looks.CREATE_LOOKS = looks.DELETE_LOOKS = (1.0, 1.0, 1.0)
sys.exit(main())
"""
"""The program, with a cloud that is looked at every second."""


@asynccontextmanager
async def provisioner(cluster: AksCluster, **more: str) -> AsyncIterator[None]:
    environment = {
        "CLOUD_PROVIDER": "azure",
        "KUBECONFIG": str(cluster.kubeconfig),
        "METRICS_PORT": str(free_port()),
        "HEALTH_PROBE_PORT": str(free_port()),
        "LEADER_ELECT": "false",
        **settings(cluster.arm),
        **more,
    }
    async with program(environment, "-c", IN_HASTE):
        yield


async def test_quota_exhausted(cluster: AksCluster, kubectl: Kubectl) -> None:
    cluster.aks.sold_out(SIZE, "QuotaExceeded", QUOTA)
    async with provisioner(cluster):
        await cluster.claim_for("noquota")
        seen = await kubectl("describe", "nodeclaim", "noquota", until=["QuotaExceeded"])

    assert "limit 0, in use 0, 24 more" in seen
    assert "https://aka.ms/ProdportalCRP" in seen


async def test_a_zone_sold_out(cluster: AksCluster, kubectl: Kubectl) -> None:
    cluster.aks.sold_out(SIZE, "ZonalAllocationFailed", STOCK_OUT, zone="1")
    cluster.aks.create_seconds = 30.0
    async with provisioner(cluster, AZURE_ZONES="1,2"):
        await cluster.claim_for("onezone")
        seen = await kubectl("describe", "nodeclaim", "onezone", until=["Creating since"])

    assert "zone 2" in seen
    assert "before that: ZonalAllocationFailed" in seen


async def test_every_zone_sold_out(cluster: AksCluster, kubectl: Kubectl) -> None:
    cluster.aks.sold_out(SIZE, "ZonalAllocationFailed", STOCK_OUT)
    async with provisioner(cluster, AZURE_ZONES="1,2"):
        await cluster.claim_for("nozone")
        await cluster.gone("nozone")
        # The claim is its owner's to ask for anew; what became of it stays for an hour.
        seen = await kubectl(
            "events", "--for", "nodeclaim/nozone", until=["InsufficientCapacityError"]
        )

    for words in ("emulator-1", "emulator-2", STOCK_OUT):
        assert words in seen
    assert cluster.aks.pools == {}


async def test_the_node_never_registers(cluster: AksCluster, kubectl: Kubectl) -> None:
    async def stays_away(_: Pool) -> None:
        """The machine runs, and its kubelet cannot reach the cluster."""

    cluster.aks.on_ready = stays_away
    async with provisioner(cluster, REGISTRATION_TIMEOUT="8"):
        await cluster.claim_for("nonode")
        silent = "its machine has not joined the cluster yet"
        seen = await kubectl("describe", "nodeclaim", "nonode", until=[silent])
        assert "Provisioning" in seen
        await cluster.gone("nonode")
        after = await kubectl("events", "--for", "nodeclaim/nonode", until=["RegistrationTimeout"])
    assert "8 s" in after
    assert cluster.aks.pools == {}


async def test_the_gpu_never_appears(cluster: AksCluster, kubectl: Kubectl) -> None:
    async def without_driver(pool: Pool) -> None:
        await cluster.kubelets.join(pool)
        resources = {"cpu": "24", "memory": "220Gi", "nvidia.com/gpu": "0"}
        await cluster.client.patch(
            NODES, pool.node_name, {"status": {"allocatable": resources}}, subresource="status"
        )

    cluster.aks.on_ready = without_driver
    async with provisioner(cluster, INITIALIZATION_TIMEOUT="8"):
        await cluster.claim_for("nogpu")
        seen = await kubectl("describe", "nodeclaim", "nogpu", until=["ResourceNotRegistered"])
        assert "0 of 1 nvidia.com/gpu" in seen
        after = await kubectl("events", "--for", "nodeclaim/nogpu", until=["InitializationTimeout"])
        assert SIZE in after
        await eventually(lambda: cluster.gone("nogpu"), 30.0)
    assert cluster.aks.pools == {}
