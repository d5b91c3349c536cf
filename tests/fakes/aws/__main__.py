"""The emulator on its own: `python -m tests.fakes.aws --port 4566 --cluster demo`."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack

from kube import config
from kube.client import Client
from tests.fakes.aws import backend
from tests.fakes.aws.cluster import Kubelets
from tests.fakes.aws.emulator import Emulator

QUEUE = "notices"


async def serve(port: int, cluster: str, kubeconfig: str | None) -> None:
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(Emulator(port=port, group_seconds=20.0))
        await emulator.prepare(cluster)
        await emulator.send(QUEUE, "a queue to begin with")
        if kubeconfig:
            client = Client(config.kubeconfig(kubeconfig), field_manager="aws-emulator")
            await stack.enter_async_context(client)
            await stack.enter_async_context(Kubelets(emulator, client))
        for name, value in {
            "CLOUD_PROVIDER": "aws",
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_REGION": backend.REGION,
            "AWS_CLUSTER_NAME": cluster,
            "AWS_INSTANCE_PROFILE": "nodes",
            "AWS_INTERRUPTION_QUEUE": QUEUE,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
        }.items():
            print(f"export {name}={value}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.aws", description=__doc__)
    parser.add_argument("--port", type=int, default=4566)
    parser.add_argument("--cluster", default="demo", help="an EKS cluster that exists")
    parser.add_argument("--kubeconfig", help="of a cluster that machines join as Nodes")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.port, given.cluster, given.kubeconfig))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
