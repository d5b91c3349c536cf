"""`python -m tests.fakes.gke`: a GKE cluster's API to try the provisioner on, without Google.

With a kubeconfig, each pool's machine joins that cluster as a Node (without kubelet).
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack, suppress

from kube import config
from kube.client import Client
from tests.fakes.gke.compute import ComputeServer
from tests.fakes.gke.gke import Fate, Gke
from tests.fakes.gke.nodes import Kubelets
from tests.fakes.gke.server import GkeServer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.gke", description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--pool-seconds", type=float, default=20.0, help="creating a pool takes")
    parser.add_argument("--delete-seconds", type=float, default=10.0, help="deleting one takes")
    parser.add_argument("--concurrency", type=int, help="pool operations at a time; any number")
    parser.add_argument("--sold-out", action="append", default=[], metavar="ZONE")
    parser.add_argument("--kubeconfig", help="of the cluster that machines join")
    return parser.parse_args()


async def main() -> None:
    given = arguments()
    gke = Gke(
        create_seconds=given.pool_seconds,
        delete_seconds=given.delete_seconds,
        concurrency=given.concurrency,
    )
    gke.fates = [
        Fate(times=float("inf"), zone=zone, code="GCE_STOCKOUT", message=f"{zone} is sold out")
        for zone in given.sold_out
    ]
    async with AsyncExitStack() as stack:
        if given.kubeconfig:
            endpoint = config.load(given.kubeconfig)
            client = await stack.enter_async_context(Client(endpoint, field_manager="emulator"))
            kubelets = Kubelets(client)
            gke.on_ready, gke.on_gone = kubelets.join, kubelets.leave
        server = await stack.enter_async_context(GkeServer(gke, port=given.port, pulse=True))
        compute = await stack.enter_async_context(ComputeServer())
        told = {"GCP_ENDPOINT": server.url, "GCP_COMPUTE_ENDPOINT": compute.url}
        for name, value in {
            "CLOUD_PROVIDER": "gcp",
            **gke.endpoint_settings(),
            **told,
        }.items():
            print(f"export {name}={value}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
