"""The program itself: started with an environment, judged from outside, ended by a signal."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from workspace_cluster import Cluster, eventually

from kube.errors import InvalidError
from kube.objects import SECRETS, VALIDATING_WEBHOOKS
from tests import builders

pytestmark = pytest.mark.integration


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _program(kubeconfig: Path, namespace: str, **more: str) -> AsyncIterator[dict[str, int]]:
    """The controller as a process, with the ports on which it answers."""
    ports = {name: _free_port() for name in ("METRICS_PORT", "HEALTH_PROBE_PORT", "WEBHOOK_PORT")}
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(kubeconfig),
        "CLOUD_PROVIDER": "local",
        "POD_NAMESPACE": namespace,
        "HF_HUB_OFFLINE": "1",
        "LEADER_ELECT": "true",
        "SHUTDOWN_DELAY": "0",
        **{name: str(port) for name, port in ports.items()},
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "workspace_controller",
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: _answers(f"http://127.0.0.1:{ports['HEALTH_PROBE_PORT']}/readyz"))
        yield ports
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _answers(url: str) -> bool:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False


async def _body(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def test_the_program_serves_workspaces_and_metrics_and_ends_on_sigterm(
    cluster: Cluster, installed: Path
):
    async with _program(installed, cluster.namespace) as ports:
        await cluster.create_workspace(preset="gemma-3-270m", annotations=LOCAL)
        await cluster.one_claim()
        metrics = await _body(f"http://127.0.0.1:{ports['METRICS_PORT']}/metrics")
    assert 'kaito_workspace_count{phase="pending"} 1.0' in metrics
    assert 'kaito_workspace_preset_count{preset_name="gemma-3-270m"} 1.0' in metrics
    assert "controller_runtime_reconcile_total" in metrics


LOCAL = {"kaito.sh/use-local-weights": "true"}


async def test_the_api_server_asks_the_program_before_it_stores(cluster: Cluster, installed: Path):
    """With the certificate that the program made, and told the API server of."""
    secret = "made-by-itself"
    async with _program(
        installed, cluster.namespace, WEBHOOK_CERT_SECRET=secret, WEBHOOK_SERVICE="localhost"
    ) as ports:
        await eventually(lambda: cluster.client.get(SECRETS, secret, cluster.namespace))
        made = await cluster.client.get(SECRETS, secret, cluster.namespace)
        assert made is not None
        await _install_webhook(cluster, ports["WEBHOOK_PORT"], made.data["ca.crt"])
        try:
            await eventually(lambda: _refused(cluster, preset="gemma-3-27m", annotations=LOCAL))
            await cluster.create_workspace(preset="gemma-3-270m", annotations=LOCAL)
            await cluster.one_claim()
        finally:
            await cluster.client.delete(VALIDATING_WEBHOOKS, "validation.workspace.kaito.sh")


async def _refused(cluster: Cluster, **given) -> bool:
    """Whether the webhook says no, and why; until the API server knows of it, anything goes."""
    manifest = builders.a_workspace_manifest(name="refused", **given)
    manifest["metadata"]["namespace"] = cluster.namespace
    message = ""
    try:
        await cluster.client.create(manifest)
    except InvalidError as error:
        message = error.message
    await cluster.clean_up()
    return 'did you mean "gemma-3-270m"' in message


async def _install_webhook(cluster: Cluster, port: int, bundle: str) -> None:
    """As the chart does, but for a URL: there is no Service that leads to this process."""
    assert b"BEGIN CERTIFICATE" in base64.b64decode(bundle)
    await cluster.client.create(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "validation.workspace.kaito.sh"},
            "webhooks": [
                {
                    "name": "validation.workspace.kaito.sh",
                    "admissionReviewVersions": ["v1"],
                    "clientConfig": {
                        "url": f"https://localhost:{port}/validate/workspace.kaito.sh",
                        "caBundle": bundle,
                    },
                    "failurePolicy": "Fail",
                    "sideEffects": "None",
                    "rules": [
                        {
                            "apiGroups": ["kaito.sh"],
                            "apiVersions": ["v1beta1"],
                            "resources": ["workspaces"],
                            "operations": ["CREATE", "UPDATE"],
                        }
                    ],
                }
            ],
        }
    )
