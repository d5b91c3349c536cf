"""What pods say of themselves, read through the real API server from something that answers as a
kubelet does."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web
from kubelet import RUNNING, container, pod
from said import progress
from workspace_cluster import Cluster, eventually

from apis import reports
from apis.reports import Stage
from kube import certificates
from kube.objects import NODES

pytestmark = pytest.mark.integration


class Kubelet:
    """The one of its routes that the API server asks for logs."""

    def __init__(self) -> None:
        self.logs: dict[str, str] = {}
        """By container."""
        self.asked: list[dict[str, str]] = []
        self.port = 0

    async def log(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        found = self.logs.get(request.match_info["container"])
        return web.Response(status=404) if found is None else web.Response(text=found)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Kubelet]:
    issued = certificates.renewed(None, ["127.0.0.1"], datetime.now(UTC)).certificate
    (tmp_path / "pair").write_bytes(issued.key + issued.chain)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "pair")
    kubelet, app = Kubelet(), web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", kubelet.log)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    kubelet.port = runner.addresses[0][1]
    yield kubelet
    await runner.cleanup()


async def test_the_line_tells_how_far_the_engine_is(cluster: Cluster, node: Kubelet) -> None:
    """And a pod without a log, at first, is no error."""
    async with cluster.controller():
        await cluster.deploy()
        stateful_set = await cluster.stateful_set()
        assert stateful_set is not None
        await cluster.make_pod("falcon-0", stateful_set)
        (claim,) = await cluster.claims()
        await cluster.place_pod("falcon-0", claim.metadata.name)
        address = {"type": "InternalIP", "address": "127.0.0.1"}
        ports = {"kubeletEndpoint": {"Port": node.port}}
        status = {"addresses": [address], "daemonEndpoints": ports}
        await cluster.client.patch(
            NODES, claim.metadata.name, {"status": status}, subresource="status"
        )
        said = [Stage(stage=reports.LOAD), Stage(stage=reports.COMPILE)]
        node.logs["falcon"] = "INFO other\n" + "".join(f"{reports.line(each)}\n" for each in said)
        await cluster.set_pod("falcon-0", pod(container(RUNNING), phase="Running"))

        async def told() -> bool:
            message = progress(await cluster.workspace()).message
            return message == "pod falcon-0: the engine is compiling the model"

        await eventually(told)
        assert progress(await cluster.workspace()).stage == "WaitingForEngine"
        assert int(node.asked[0]["tailLines"]) <= 100
        assert int(node.asked[0]["limitBytes"]) <= 1 << 20
