"""The CRDs are those of the models, and what upstream's clients rely on is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from apis import generate
from apis.definitions import DEFINITIONS


def crd(name: str) -> dict[str, Any]:
    path = generate.ROOT / "apis/crds" / name
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


def schema_of(name: str, version: str) -> dict[str, Any]:
    found = next(each for each in crd(name)["spec"]["versions"] if each["name"] == version)
    schema: dict[str, Any] = found["schema"]["openAPIV3Schema"]
    return schema


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for name in path.split("."):
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


def columns(name: str, version: str) -> list[str]:
    found = next(each for each in crd(name)["spec"]["versions"] if each["name"] == version)
    return [
        column["name"] + ("*" if column.get("priority") else "")
        for column in found["additionalPrinterColumns"]
    ]


WORKSPACES = "kaito.sh_workspaces.yaml"
RAG_ENGINES = "kaito.sh_ragengines.yaml"
CLAIMS = "karpenter.sh_nodeclaims.yaml"
POOLS = "karpenter.sh_nodepools.yaml"


def test_the_files_are_what_the_models_say() -> None:
    assert generate.stale() == [], "run `make generate`"


def test_check_tells_of_drift_in_a_model_file_or_a_charts_copy(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    for place in ("apis/crds", "charts/karpenter-crds/files/crds"):
        changed = tmp_path / place / CLAIMS
        changed.write_text("other")
        assert generate.stale(tmp_path) == [changed]
        generate.write(tmp_path)


def test_an_installed_package_has_no_charts(tmp_path: Path) -> None:
    generate.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["apis"]


def test_every_definition_has_one_stored_version() -> None:
    for definition in DEFINITIONS:
        assert [each.storage for each in definition.versions].count(True) == 1, definition.name


def test_workspace_names_versions_and_columns() -> None:
    spec = crd(WORKSPACES)["spec"]
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["shortNames"] == ["wk", "wks"]
    assert spec["names"]["categories"] == ["workspace"]
    assert "conversion" not in spec
    assert [(each["name"], each["storage"]) for each in spec["versions"]] == [
        ("v1alpha1", False),
        ("v1beta1", True),
    ]
    common = ["Instance", "ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded"]
    assert columns(WORKSPACES, "v1alpha1") == [*common, "Age"]
    assert columns(WORKSPACES, "v1beta1") == [
        *common,
        "TargetNodeCount",
        "State",
        "Age",
        "Stage*",
        "Elapsed*",
        "Endpoint*",
    ]


@pytest.mark.parametrize(
    ("path", "default"),
    [
        ("resource.count", 1),
        ("inference.preset.accessMode", "public"),
        ("resource.instanceType", None),
    ],
)
def test_workspace_defaults(path: str, default: object) -> None:
    assert at(schema_of(WORKSPACES, "v1beta1"), path).get("default") == default


def test_v1alpha1_differs_by_its_instance_type_alone() -> None:
    """Upstream's lacks fields too, which who reads and writes in that version takes away."""
    old, new = (schema_of(WORKSPACES, version) for version in ("v1alpha1", "v1beta1"))
    typed = at(old, "resource.instanceType")
    assert typed.pop("default") == "Standard_NC24ads_A100_v4"
    for schema in (old, new):
        del schema["description"], at(schema, "resource.instanceType")["description"]
    assert old == new


def test_ragengine_names_versions_and_columns() -> None:
    spec = crd(RAG_ENGINES)["spec"]
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["shortNames"] == ["rag"]
    assert spec["names"]["categories"] == ["ragengine"]
    assert "conversion" not in spec
    old, new = spec["versions"]
    assert (old["name"], old["storage"], old["deprecated"]) == ("v1alpha1", False, True)
    assert old["deprecationWarning"] == (
        "kaito.sh/v1alpha1 RAGEngine is deprecated; use kaito.sh/v1beta1 RAGEngine"
    )
    assert (new["name"], new["storage"], "deprecated" in new) == ("v1beta1", True, False)
    for version in ("v1alpha1", "v1beta1"):
        shown = columns(RAG_ENGINES, version)
        assert shown == [
            "Instance",
            "ResourceReady",
            "ServiceReady",
            "Age",
            "State*",
            "Endpoint*",
        ]


def test_ragengines_versions_differ_by_a_default_and_a_required_url() -> None:
    """There is no conversion: what one of them lacked, the other would lose."""
    old, new = (schema_of(RAG_ENGINES, version) for version in ("v1alpha1", "v1beta1"))
    typed = at(old, "spec.compute.instanceType")
    assert typed.pop("default") == "Standard_NC24ads_A100_v4"
    assert at(old, "spec.inferenceService").pop("required") == ["url"]
    for schema in (old, new):
        for path in ("spec.compute.instanceType", "spec.inferenceService.url"):
            del at(schema, path)["description"]
        del at(schema, "spec.inferenceService")["description"]
    assert old == new


def test_ragengine_is_spelled_as_upstream_spells_it() -> None:
    spec = at(schema_of(RAG_ENGINES, "v1beta1"), "spec")
    assert at(spec, "embedding.local.modelID")["type"] == "string"
    assert at(spec, "storage.vectorDB")["required"] == ["engine", "url"]
    assert at(spec, "storage.persistentVolume")["required"] == ["persistentVolumeClaim"]
    assert at(spec, "compute.count")["default"] == 1


@pytest.mark.parametrize(
    "path",
    [
        "inference.template",
        "inference.adapters.[].source.volumeSource",
        "tuning.input.volumeSource",
        "tuning.output.volumeSource",
    ],
)
def test_parts_of_kubernetes_are_kept_whole(path: str) -> None:
    for version in ("v1alpha1", "v1beta1"):
        assert at(schema_of(WORKSPACES, version), path)["x-kubernetes-preserve-unknown-fields"]


def test_required_fields_are_upstreams() -> None:
    workspace = schema_of(WORKSPACES, "v1beta1")
    assert "required" not in workspace
    assert at(workspace, "resource")["required"] == ["labelSelector"]
    assert at(workspace, "tuning")["required"] == ["input", "output"]
    assert at(workspace, "inference.preset")["required"] == ["name"]
    claim = schema_of(CLAIMS, "v1")
    assert claim["required"] == ["spec"]
    assert at(claim, "spec")["required"] == ["nodeClassRef", "requirements"]


def test_node_claim_is_karpenters() -> None:
    spec = crd(CLAIMS)["spec"]
    claim = schema_of(CLAIMS, "v1")
    assert spec["scope"] == "Cluster"
    assert spec["names"]["categories"] == ["karpenter"]
    shown, wide = columns(CLAIMS, "v1")[:6], columns(CLAIMS, "v1")[6:]
    assert shown == ["Type", "Capacity", "Zone", "Node", "Ready", "Age"]
    assert wide == ["ImageID*", "ID*", "NodePool*", "NodeClass*", "Drifted*"]
    assert at(claim, "spec")["x-kubernetes-validations"] == [
        {"rule": "self == oldSelf", "message": "spec is immutable"}
    ]
    assert at(claim, "spec.expireAfter")["default"] == "720h"
    assert at(claim, "status.conditions")["x-kubernetes-list-map-keys"] == ["type"]
    assert set(at(claim, "spec.requirements.[].operator")["enum"]) >= {"Gt", "Lt", "Gte", "Lte"}


def test_node_pool_scales_by_replicas() -> None:
    version = crd(POOLS)["spec"]["versions"][0]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.nodes",
    }
    assert columns(POOLS, "v1") == (
        ["NodeClass", "Nodes", "Ready", "Age", "Weight*", "CPU*", "Memory*"]
    )
    pool = schema_of(POOLS, "v1")
    assert at(pool, "spec.disruption.budgets")["default"] == [{"nodes": "10%"}]
    assert at(pool, "spec.disruption")["default"] == {"consolidateAfter": "0s"}


@pytest.mark.parametrize(
    ("name", "version", "short", "wide"),
    [
        ("karpenter.azure.com_aksnodeclasses.yaml", "v1beta1", ["aksnc", "aksncs"], "ImageFamily*"),
        ("karpenter.k8s.aws_ec2nodeclasses.yaml", "v1", ["ec2nc", "ec2ncs"], "Role*"),
        ("karpenter.k8s.gcp_gcenodeclasses.yaml", "v1alpha1", ["gcenc", "gcencs"], ""),
        ("kaito.sh_kaitonodeclasses.yaml", "v1alpha1", ["knc"], ""),
    ],
)
def test_node_classes_are_those_of_the_clouds_own_provisioners(
    name: str, version: str, short: list[str], wide: str
) -> None:
    spec = crd(name)["spec"]
    assert spec["scope"] == "Cluster"
    assert spec["names"]["shortNames"] == short
    assert columns(name, version) == ["Ready", "Age", *([wide] if wide else [])]
    for part in ("spec", "status"):
        assert at(schema_of(name, version), part)["x-kubernetes-preserve-unknown-fields"]
