"""`python -m tests.fakes.arm`: an ARM to try the provisioner on, without Azure.

With a kubeconfig, each pool's machine joins that cluster as a Node (without kubelet).
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, suppress

from kube import config
from kube.client import Client
from tests.fakes.arm.aks import Aks
from tests.fakes.arm.nodes import Kubelets
from tests.fakes.arm.server import ArmServer
from tests.fakes.arm.tokens import SECRET


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.arm", description=__doc__)
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--pool-seconds", type=float, default=20.0, help="creating a pool takes")
    parser.add_argument("--delete-seconds", type=float, default=5.0, help="deleting one takes")
    parser.add_argument("--concurrency", type=int, help="pool operations at a time; any number")
    parser.add_argument("--pool-limit", type=int, default=100)
    parser.add_argument("--kubeconfig", help="of the cluster that machines join")
    return parser.parse_args()


def settings(arm: ArmServer) -> dict[str, str]:
    """What the provisioner must be told to talk to it."""
    return {
        "AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
        "AZURE_RESOURCE_GROUP": "emulator",
        "AZURE_CLUSTER_NAME": "emulator",
        "AZURE_LOCATION": "emulator",
        "AZURE_AUTH": "service-principal",
        "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000002",
        "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000003",
        "AZURE_CLIENT_SECRET": SECRET,
        "AZURE_AUTHORITY_HOST": arm.url,
        "AZURE_RESOURCE_MANAGER_URL": arm.url,
        "AZURE_CA_FILE": str(arm.ca_file),
    }


async def main() -> None:
    given = arguments()
    aks = Aks(
        create_seconds=given.pool_seconds,
        delete_seconds=given.delete_seconds,
        concurrency=given.concurrency,
        pool_limit=given.pool_limit,
    )
    async with AsyncExitStack() as stack:
        if given.kubeconfig:
            endpoint = config.load(given.kubeconfig)
            client = await stack.enter_async_context(Client(endpoint, field_manager="emulator"))
            kubelets = Kubelets(client)
            aks.on_ready, aks.on_gone = kubelets.join, kubelets.leave
        arm = await stack.enter_async_context(ArmServer(aks, port=given.port))
        for name, value in {"CLOUD_PROVIDER": "azure", **settings(arm)}.items():
            print(f"export {name}={value}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
