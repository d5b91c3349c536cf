"""Our webhooks, served from the test and asked about its namespace only."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from workspace_cluster import Cluster, eventually

from kube.admission import AdmissionServer, Webhook
from kube.certificates import Certificate, Issued, renewed
from kube.meta import Manifest
from kube.objects import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS
from workspace_controller.webhooks import Admission

_NAME = "at-work.kaito.sh"


class _Held:
    """A certificate for as long as the test lasts."""

    def __init__(self) -> None:
        self.issued: Issued = renewed(None, ["localhost"], datetime.now(UTC))

    async def current(self) -> Certificate:
        return self.issued.certificate


@asynccontextmanager
async def webhooks(
    cluster: Cluster, judge: Admission, plural: str, asked: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """`asked`: whether the API server goes by both, which takes it a moment."""
    held = _Held()
    served = [Webhook("/validate", judge.validate), Webhook("/default", judge.default)]
    server = AdmissionServer(served, held, port=0, host="127.0.0.1")
    running = asyncio.create_task(server.run())
    try:
        await asyncio.wait_for(server.ready.wait(), 10)
        for resource, path in (
            (VALIDATING_WEBHOOKS, "validate"),
            (MUTATING_WEBHOOKS, "default"),
        ):
            url = f"https://localhost:{server.port}/{path}"
            await cluster.client.create(_configuration(cluster, resource.kind, plural, url, held))
        await eventually(asked)
        yield
    finally:
        for resource in (VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS):
            await cluster.client.delete(resource, _NAME)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _configuration(cluster: Cluster, kind: str, plural: str, url: str, held: _Held) -> Manifest:
    here = {"kubernetes.io/metadata.name": cluster.namespace}
    bundle = base64.b64encode(held.issued.authorities).decode()
    webhook = {
        "name": _NAME,
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": url, "caBundle": bundle},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "namespaceSelector": {"matchLabels": here},
        "rules": [
            {
                "apiGroups": ["kaito.sh"],
                "apiVersions": ["v1alpha1", "v1beta1"],
                "resources": [plural],
                "operations": ["CREATE", "UPDATE"],
            }
        ],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": _NAME},
        "webhooks": [webhook],
    }
