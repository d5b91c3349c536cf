"""What the API server refuses by the CRD alone, in the words of `kaito validate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from refused_alone import here, located, said, update
from workspace_cluster import Cluster
from workspace_crd import altered, unruled

from apis.kaito import admission
from apis.kaito.v1beta1.workspace import WORKSPACES
from kube.errors import InvalidError
from kube.meta import Manifest
from tests import refusals
from tests.refusals import Refusal


@pytest.mark.parametrize("case", refusals.REFUSALS, ids=lambda case: case.id)
async def test_the_api_server_refuses_it_alone(cluster: Cluster, case: Refusal):
    if case.old is None:
        found = await said(cluster.client.create(here(cluster, case.new)))
    else:
        await cluster.client.create(here(cluster, case.old))
        found = await said(update(cluster, WORKSPACES, case.old, case.new))
    expected = admission.refusals(case.new, refusals.FACTS, case.old)
    assert sorted(found) == sorted((located(each.path), each.message) for each in expected)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"tuning.method": "Full"}, id="W-C27 full"),
        pytest.param(
            {"tuning.input": {"huggingFace": f"owner/data@{'a' * 40}"}}, id="W-C29 Hugging Face"
        ),
    ],
)
async def test_what_kaito_lacks_is_taken(cluster: Cluster, fields: Manifest):
    manifest = refusals.changed(refusals.TUNED, fields)
    assert admission.refusals(manifest, refusals.FACTS) == []
    stored = await cluster.client.create(here(cluster, manifest))
    assert stored["tuning"]["method"] == manifest["tuning"]["method"]


async def test_what_has_become_invalid_can_be_reported_on_and_go(cluster: Cluster, installed: Path):
    """Upstream's incident: after an upgrade Workspaces could neither be edited nor deleted."""
    async with altered(installed, unruled, lambda: _anything_goes(cluster)):
        await cluster.client.create(here(cluster, INVALID))

    async def patch(fields: Manifest, subresource: str = "") -> None:
        await cluster.client.patch(
            WORKSPACES, "ws", fields, namespace=cluster.namespace, subresource=subresource
        )

    await patch({"status": {"state": "NotReady"}}, "status")
    await patch({"metadata": {"finalizers": ["kaito.sh/test"], "annotations": {"a": "b"}}})
    await patch({"resource": {"preferredNodes": ["n1"]}})
    await cluster.client.delete(WORKSPACES, "ws", namespace=cluster.namespace)
    await patch({"metadata": {"finalizers": None}})
    assert await cluster.client.get(WORKSPACES, "ws", cluster.namespace) is None


INVALID = refusals.changed(
    refusals.SERVED,
    {
        "resource.labelSelector.matchExpressions": [{"key": "a", "operator": "Exists"}],
        "resource.partition": {"mode": "mig", "count": 2},
        "inference.template": {"spec": {"containers": []}},
        "inference.preset.accessMode": "private",
        "inference.adapters": [
            *({"strength": "5"} for _ in range(11)),
            {"source": {"volumeSource": {"emptyDir": {}}, "image": "a"}},
        ],
        "tuning": {
            "input": {"image": "A", "volumeSource": {"emptyDir": {}}},
            "output": {"image": "a", "volumeSource": {"emptyDir": {}}},
        },
    },
)
"""As an API server without our rules has stored it."""


async def _anything_goes(cluster: Cluster) -> bool:
    probe = here(cluster, refusals.changed(refusals.SERVED, {"inference": {}}))
    probe["metadata"]["name"] = "probe"
    try:
        await cluster.client.create(probe)
    except InvalidError:
        return False
    await cluster.client.delete(WORKSPACES, "probe", namespace=cluster.namespace)
    return True
