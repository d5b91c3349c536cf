"""What our webhooks add to the creation of a Workspace, at a steady rate, on a real API server.

Requests are sent on time whether earlier ones were answered or not, and timed from when they were
due. They are dry runs, so that the time is admission's and not that of the storage.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import _harness as harness

from kube.client import Client
from kube.errors import InvalidError
from kube.meta import Manifest, Resource
from kube.objects import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS, WebhookConfiguration
from localcluster.controlplane import ControlPlane

RATE = 50
SECONDS = 20
WARM_UP = 100
CONFIG = "options"
NAMESPACE = "default"
WEBHOOKS: dict[str, tuple[Resource[WebhookConfiguration], str]] = {
    "validation.workspace.kaito.sh": (VALIDATING_WEBHOOKS, "/validate/workspace.kaito.sh"),
    "defaulting.workspace.kaito.sh": (MUTATING_WEBHOOKS, "/default/workspace.kaito.sh"),
}


def workspace(name: str, preset: str = "gemma-3-270m") -> Manifest:
    """One whose ConfigMap admission has to look up."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"kaito.sh/use-local-weights": "true"},
        },
        "resource": {
            "instanceType": "local-gpu-1",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": preset}, "config": CONFIG},
    }


async def creations(kube: Client, prefix: str, count: int) -> list[float]:
    """Seconds that each took, from when it was due."""
    begun = time.monotonic()

    async def one(number: int) -> float:
        due = begun + number / RATE
        await asyncio.sleep(due - time.monotonic())
        await kube.create(workspace(f"{prefix}-{number}"), dry_run=True)
        return time.monotonic() - due

    return await asyncio.gather(*(one(number) for number in range(count)))


async def install(kube: Client, port: int) -> None:
    """As the chart does, but for a URL; back once the API server asks."""
    while (secret := await kube.get(SECRETS, "workspace-webhook-cert", NAMESPACE)) is None:
        await asyncio.sleep(0.1)
    for name, (resource, path) in WEBHOOKS.items():
        webhook = {
            "name": name,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "url": f"https://localhost:{port}{path}",
                "caBundle": secret.data["ca.crt"],
            },
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "rules": [
                {
                    "apiGroups": ["kaito.sh"],
                    "apiVersions": ["v1alpha1", "v1beta1"],
                    "resources": ["workspaces"],
                    "operations": ["CREATE", "UPDATE"],
                }
            ],
        }
        metadata = {"name": name}
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}
        await kube.create({**kind, "metadata": metadata, "webhooks": [webhook]})
    await asked(kube)


async def asked(kube: Client) -> None:
    for number in range(200):
        try:
            await kube.create(workspace(f"probe-{number}", "no-such-preset"), dry_run=True)
        except InvalidError:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the API server does not ask the webhook")


def tell(what: str, taken: Sequence[float], target: str = "–") -> float:
    p99 = harness.percentile(taken, 0.99) * 1e3
    p50 = harness.percentile(taken, 0.5) * 1e3
    harness.report(f"creation {what}: p50 / p99", f"{p50:.1f} / {p99:.1f} ms", target)
    return p99


async def main(plane: ControlPlane) -> None:
    print(harness.machine())
    port = harness.free_port()
    controller = harness.Controller(
        "workspace_controller",
        plane.kubeconfig,
        CLOUD_PROVIDER="local",
        HF_HUB_OFFLINE="1",
        WEBHOOK_PORT=str(port),
        WEBHOOK_SERVICE="localhost",
    )
    try:
        async with harness.client(plane.kubeconfig) as kube:
            await controller.ready()
            metadata = {"name": CONFIG, "namespace": NAMESPACE}
            data = {"inference_config.yaml": "vllm:\n  max-model-len: 2048\n"}
            await kube.create(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            )
            await creations(kube, "warm", WARM_UP)
            without = tell("without webhooks", await creations(kube, "without", RATE * SECONDS))
            await install(kube, port)
            await creations(kube, "warmer", WARM_UP)
            before = controller.usage().cpu_seconds
            within = tell("with both webhooks", await creations(kube, "with", RATE * SECONDS))
            spent = (controller.usage().cpu_seconds - before) / (RATE * SECONDS)
            harness.report("CPU of the controller a creation", f"{spent * 1e3:.1f} ms", "–")
            harness.report(
                f"added by admission at {RATE} requests/s, p99",
                f"{max(0.0, within - without):.1f} ms",
                "≤ 20 ms",
            )
    finally:
        controller.stop()


if __name__ == "__main__":
    with harness.api_server() as started:
        asyncio.run(main(started))
