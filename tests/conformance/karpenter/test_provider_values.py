"""What the values files for Karpenter's providers lead to, judged by the kinds' own schemas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import cloudproviders
from apis.karpenter.v1.nodeclaim import NODE_CLAIMS
from kube import config
from kube.client import Client
from kube.errors import InvalidError
from kube.meta import Manifest
from tests import builders
from tests.conformance.charts import rendering
from workspace_controller.manifests.nodeclaim import node_claim
from workspace_controller.manifests.nodepool import POOLS, node_class, node_pool
from workspace_controller.nodes import shapes
from workspace_controller.nodes.classes import NodeClasses
from workspace_controller.nodes.provisioner import Need
from workspace_controller.settings import process

pytestmark = pytest.mark.integration

CLASSES = rendering.CHARTS / "karpenter-crds/files/nodeclasses"
SERVED_BY = {"aws": "g5.xlarge", "azure": "Standard_NC24ads_A100_v4", "gcp": "g2-standard-8"}
"""A machine with one GPU of each cloud."""


@dataclass(frozen=True)
class Written:
    """What the workspace controller would write with those values."""

    classes: NodeClasses
    pool: Manifest
    claim: Manifest

    @classmethod
    def of(cls, cloud: str) -> Written:
        file = rendering.CHARTS / f"workspace/values/karpenter-{cloud}.yaml"
        told = process(rendering.environment(rendering.render("workspace", file=file)))
        assert told.node_classes is not None
        owner = builders.a_workspace(instance_type=SERVED_BY[cloud])
        types = cloudproviders.instance_types(told.cloud)
        shape = shapes.asked_for(owner, types)
        profile = cloudproviders.profile(told.cloud)
        need = Need(shape, 1, 200)
        chosen = told.node_classes.chosen(owner, need.disk_gib)
        return cls(
            told.node_classes,
            node_pool(owner, shape, told.node_classes, chosen, 1, None),
            node_claim(owner, need, profile, name="ws0123456789", ordinal=0),
        )


@pytest.fixture(params=SERVED_BY)
def cloud(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


async def test_the_api_server_takes_what_is_written(cloud: str, plain: Path) -> None:
    written = Written.of(cloud)
    kinds = (NODE_CLAIMS, POOLS, written.classes.resource)
    endpoint = config.kubeconfig(str(plain))
    async with Client(endpoint, field_manager="tests", kinds=kinds) as client:
        for each in written.classes.classes:
            await client.create(node_class(written.classes, each), dry_run=True)
        await client.create(written.pool, dry_run=True)
        await client.create(written.claim, dry_run=True)
        for manifest in (written.pool, written.claim):
            broken = yaml.safe_load(yaml.safe_dump(manifest))
            spec = broken["spec"].get("template", broken)["spec"]
            spec["nodeClassRef"]["group"] = ""
            with pytest.raises(InvalidError):
                await client.create(broken, dry_run=True)


def test_every_field_of_a_class_is_one_that_its_schema_names(cloud: str) -> None:
    """The API server would drop one that is misspelt, or keep it, and nobody would read it."""
    classes = Written.of(cloud).classes
    (file,) = CLASSES.glob(f"{classes.group}_{classes.resource_name}.yaml")
    crd = yaml.safe_load(file.read_text())
    assert crd["spec"]["names"]["kind"] == classes.kind
    (schema,) = (
        each["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for each in crd["spec"]["versions"]
        if each["name"] == classes.version
    )
    for each in classes.classes:
        assert _unknown(dict(each.spec), schema) == []


def _unknown(given: Any, schema: Manifest, path: str = "spec") -> list[str]:
    """The paths of fields that the schema does not name, where it names any."""
    if isinstance(given, list):
        return [name for each in given for name in _unknown(each, schema["items"], path)]
    named = schema.get("properties")
    if not isinstance(given, dict) or not named:
        return []
    missing = [f"{path}.{key}" for key in given if key not in named]
    known = [key for key in given if key in named]
    return missing + [
        name for key in known for name in _unknown(given[key], named[key], f"{path}.{key}")
    ]


def test_a_misspelt_field_would_be_found() -> None:
    schema = {"properties": {"disks": {"items": {"properties": {"sizeGiB": {}}}}}}
    assert _unknown({"disks": [{"sizeGB": 3}], "disk": 1}, schema) == [
        "spec.disk",
        "spec.disks.sizeGB",
    ]


def test_the_smallest_disk_that_does_is_chosen(cloud: str) -> None:
    classes = Written.of(cloud).classes
    owner = builders.a_workspace(instance_type=SERVED_BY[cloud])
    assert classes.chosen(owner, 200) == classes.default
    assert classes.chosen(owner, 800).name == "large-disk"


def test_standalone_claims_refer_to_the_class_that_the_values_make() -> None:
    """One value apart: with nodeclaim the class of the same name must be there."""
    for cloud in ("aws", "gcp"):
        written = Written.of(cloud)
        ref = written.claim["spec"]["nodeClassRef"]
        assert (ref["group"], ref["kind"]) == (written.classes.group, written.classes.kind)
        assert ref["name"] == written.classes.default.name
        assert "resources" not in written.claim["spec"], "no machine offers `storage`"
        assert "karpenter.sh/nodepool" not in written.claim["metadata"]["labels"]
