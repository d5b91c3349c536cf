"""`python -m tests.fakes.arm.site`: an Azure Local site to try the provisioner on, without Azure.

With a kubeconfig, each pool's machine joins that cluster as a Node (without kubelet).
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, suppress
from typing import cast

import cloudproviders
from kube import config
from kube.client import Client
from tests.fakes.arm.aks import Pool
from tests.fakes.arm.arc import Arc, ArcPool
from tests.fakes.arm.nodes import Kubelets
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.tokens import SECRET

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/emulator/providers"


def settings(arm: ArmServer) -> dict[str, str]:
    """What the provisioner must be told to talk to it."""
    return {
        "ARC_CLUSTER_ID": f"{GROUP}/Microsoft.Kubernetes/connectedClusters/emulator",
        "ARC_CUSTOM_LOCATION_ID": f"{GROUP}/Microsoft.ExtendedLocation/customLocations/emulator",
        "ARC_TENANT_ID": "00000000-0000-0000-0000-000000000002",
        "ARC_CLIENT_ID": "00000000-0000-0000-0000-000000000003",
        "ARC_CLIENT_SECRET": SECRET,
        "ARC_AUTHORITY_HOST": arm.url,
        "ARC_RESOURCE_MANAGER_URL": arm.url,
        "ARC_CA_FILE": str(arm.ca_file),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.arm.site", description=__doc__)
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--pool-seconds", type=float, default=20.0, help="creating a pool takes")
    parser.add_argument("--delete-seconds", type=float, default=5.0, help="deleting one takes")
    parser.add_argument("--kubeconfig", help="of the cluster that machines join")
    given = parser.parse_args()
    arc = Arc(
        skus=tuple(cloudproviders.instance_types("arc")),
        create_seconds=given.pool_seconds,
        delete_seconds=given.delete_seconds,
    )
    async with AsyncExitStack() as stack:
        if given.kubeconfig:
            endpoint = config.load(given.kubeconfig)
            client = await stack.enter_async_context(Client(endpoint, field_manager="emulator"))
            kubelets = Kubelets(client, "arc")

            async def join(pool: ArcPool) -> None:
                await kubelets.join(cast("Pool", pool))  # which is alike where it is looked at

            async def leave(pool: ArcPool) -> None:
                await kubelets.leave(cast("Pool", pool))

            arc.on_ready, arc.on_gone = join, leave
        arm = await stack.enter_async_context(ArmServer(arc, port=given.port))
        for name, value in {"CLOUD_PROVIDER": "arc", **settings(arm)}.items():
            print(f"export {name}={value}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
