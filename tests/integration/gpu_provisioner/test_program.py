"""gpu-provisioner as it is deployed: one process, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kube.objects import LEASES
from tests.integration.gpu_provisioner.world import Cluster, eventually

KWOK = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "default"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def program(
    environment: Mapping[str, str], *how: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """As deployed, or started in another way: arguments of Python."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(how or ("-m", "gpu_provisioner")),
        env={"PATH": os.environ["PATH"], **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def read(url: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            content: bytes = response.read()
            return content.decode()

    return await asyncio.to_thread(get)


async def test_it_leads_serves_and_stops_when_told(cluster: Cluster) -> None:
    metrics, health = free_port(), free_port()
    environment = {
        "CLOUD_PROVIDER": "kwok",
        "KUBECONFIG": str(cluster.kubeconfig),
        "METRICS_PORT": str(metrics),
        "HEALTH_PROBE_PORT": str(health),
        "POD_NAMESPACE": "default",
        "POD_NAME": "gpu-provisioner-0",
    }
    async with program(environment) as process:
        await cluster.create_claim("ws1", node_class_ref=KWOK, instance_type="kwok-cpu-4")
        await cluster.ready("ws1")

        lease = await cluster.client.get(LEASES, "gpu-provisioner-leader-election", "default")
        assert lease is not None
        assert lease.spec.holder_identity == "gpu-provisioner-0"
        assert "karpenter_nodeclaims_created_total{" in await read(
            f"http://127.0.0.1:{metrics}/metrics"
        )

        async def ready() -> None:
            await read(f"http://127.0.0.1:{health}/readyz")

        await eventually(ready)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_a_cloud_that_is_not_built_in_is_refused_in_one_line(cluster: Cluster) -> None:
    environment = {"CLOUD_PROVIDER": "nimbus", "KUBECONFIG": str(cluster.kubeconfig)}
    async with program(environment) as process:
        _, told = await asyncio.wait_for(process.communicate(), 20)

        assert process.returncode == 2
        assert told.decode().strip() == (
            "gpu-provisioner: cloud provider 'nimbus' cannot be provisioned from;"
            " one of: arc, aws, azure, gcp, kwok, local"
        )
