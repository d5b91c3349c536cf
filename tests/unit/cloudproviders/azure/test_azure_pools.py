"""Claims as agent pools, and agent pools as instances."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import cloudproviders
from cloudproviders import selection
from cloudproviders.azure import agentpools, nodeclass, poolbody, settings
from cloudproviders.azure.agentpools import AgentPool
from cloudproviders.azure.nodeclass import PoolClass
from cloudproviders.azure.settings import AzureSettings
from cloudproviders.instancetype import Offering
from cloudproviders.nodeclass import NodeClass
from cloudproviders.selection import Choice
from kube.meta import ObjectMeta
from tests.fakes import objects
from tests.unit.cloudproviders.azure.test_azure_settings import CLUSTER, SECRET

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
A100 = cloudproviders.instance_types("azure")["Standard_NC24ads_A100_v4"]
AMD = cloudproviders.instance_types("azure")["Standard_NG32ads_V620_v1"]
PROVIDER_ID = (
    "azure:///subscriptions/s/resourceGroups/mc_g/providers/Microsoft.Compute"
    "/virtualMachineScaleSets/aks-ws1-12345678-vmss/virtualMachines/0"
)


def given(**more: str) -> AzureSettings:
    return settings.parse({**CLUSTER, **SECRET, **more})


def ordered(
    offering: Offering | None = None,
    made_with: PoolClass | None = None,
    *,
    name: str = "ws1",
    more: AzureSettings | None = None,
    size: Any = A100,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    claim = objects.claim(name, uid="uid-1", **spec)
    if annotations:
        claim.metadata.annotations.update(annotations)
    used = more or given()
    choice = Choice(size, offering or Offering(zone="", capacity_type="on-demand"))
    made_with = made_with or nodeclass.of_settings(used)
    properties: dict[str, Any] = poolbody.body(claim, choice, made_with, used, NOW)["properties"]
    return properties


def test_the_plain_order() -> None:
    assert ordered(labels={"kaito.sh/workspace": "phi"}) == {
        "vmSize": "Standard_NC24ads_A100_v4",
        "count": 1,
        "mode": "User",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "osDiskSizeGB": 1024,
        "enableAutoScaling": False,
        "gpuProfile": {"driver": "Install"},
        "nodeLabels": {
            "kaito.sh/workspace": "phi",
            "kaito.sh/machine-type": "gpu",
            "kaito.sh/creation-timestamp": "2026-01-01T00-00-00Z",
            "kaito.sh/nodeclaim": "ws1",
            "kaito.sh/nodeclaim-uid": "uid-1",
        },
        "tags": {
            "kaito.sh_nodeclaim": "ws1",
            "kaito.sh_nodeclaim-uid": "uid-1",
            "kaito.sh_created": "2026-01-01T12:00:00Z",
        },
    }


def test_spot_in_a_zone() -> None:
    properties = ordered(Offering(zone="eastus-2", capacity_type="spot"))

    assert properties["availabilityZones"] == ["2"]
    assert properties["scaleSetPriority"] == "Spot"
    assert properties["scaleSetEvictionPolicy"] == "Delete"
    assert properties["spotMaxPrice"] == -1


def test_reserved() -> None:
    more = given(AZURE_CAPACITY_RESERVATIONS=f"{A100.name}=/groups/a")

    properties = ordered(Offering(zone="", capacity_type="reserved"), more=more)

    assert properties["capacityReservationGroupID"] == "/groups/a"
    assert "scaleSetPriority" not in properties


def test_what_the_operator_says() -> None:
    more = given(
        AZURE_VNET_SUBNET_ID="/subnet",
        AZURE_POD_SUBNET_ID="/pods",
        AZURE_OS_DISK_TYPE="ephemeral",
        AZURE_GPU_DRIVER="none",
        AZURE_TAGS="team=ml,kaito.sh_nodeclaim=mine",
    )

    properties = ordered(more=more)

    assert properties["vnetSubnetID"] == "/subnet"
    assert properties["podSubnetID"] == "/pods"
    assert properties["osDiskType"] == "Ephemeral"
    assert properties["gpuProfile"] == {"driver": "None"}
    assert properties["tags"]["team"] == "ml"
    assert properties["tags"]["kaito.sh_nodeclaim"] == "ws1"


def test_what_a_class_says() -> None:
    spec = {
        "imageFamily": "AzureLinux",
        "osDiskSizeGB": 256,
        "maxPods": 60,
        "fipsMode": "FIPS",
        "gpu": {"mode": "None", "instanceProfile": "MIG3g"},
        "kubelet": {"imageGCHighThresholdPercent": 90},
        "security": {"encryptionAtHost": True},
        "artifactStreaming": {"enabled": True},
        "tags": {"team": "ml"},
        "capacityReservationGroupID": "/groups/b",
        "proximityPlacementGroupID": "/near",
    }
    made_with = nodeclass.of_class(NodeClass(spec=spec), given())

    properties = ordered(Offering(zone="", capacity_type="reserved"), made_with)

    assert properties["osSKU"] == "AzureLinux"
    assert properties["osDiskSizeGB"] == 256
    assert properties["maxPods"] == 60
    assert properties["enableFIPS"] is True
    assert properties["gpuProfile"] == {"driver": "None"}
    assert properties["gpuInstanceProfile"] == "MIG3g"
    assert properties["kubeletConfig"] == {"imageGcHighThreshold": 90}
    assert properties["enableEncryptionAtHost"] is True
    assert properties["artifactStreamingProfile"] == {"enabled": True}
    assert properties["tags"]["team"] == "ml"
    assert properties["capacityReservationGroupID"] == "/groups/b"
    assert properties["proximityPlacementGroupID"] == "/near"


def test_a_claims_own_disk_image_and_mig_profile() -> None:
    properties = ordered(
        resources={"requests": {"storage": "300Gi"}},
        annotations={
            "kaito.sh/node-image-family": "AzureLinux",
            "kaito.sh/gpu-instance-profile": "MIG1g",
        },
    )

    assert properties["osDiskSizeGB"] == 300
    assert properties["osSKU"] == "AzureLinux"
    assert properties["gpuInstanceProfile"] == "MIG1g"


def test_only_nvidia_has_a_driver_to_install() -> None:
    assert "gpuProfile" not in ordered(size=AMD)


def test_labels_that_aks_keeps_for_itself_are_left_to_registration() -> None:
    carried = ordered(
        labels={
            "karpenter.sh/nodepool": "kaito",
            "karpenter.sh/capacity-type": "spot",
            "kubernetes.azure.com/mode": "user",
            "node.kubernetes.io/instance-type": "x",
            "topology.kubernetes.io/zone": "z",
            "apps": "llm",
        }
    )["nodeLabels"]

    assert carried.items() >= {"karpenter.sh/nodepool": "kaito", "apps": "llm"}.items()
    assert not any(label.split("/")[0].endswith("kubernetes.io") for label in carried)
    assert "kubernetes.azure.com/mode" not in carried
    assert "karpenter.sh/capacity-type" not in carried


TAINTED: dict[str, Any] = {
    "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
    "startupTaints": [{"key": "example.com/warm", "effect": "NoExecute"}],
}


def test_taints_that_are_to_go_are_not_made_everlasting() -> None:
    """nodeTaints cannot be taken off by anybody but ARM: a startup taint there would stay."""
    properties = ordered(**TAINTED)

    assert properties["nodeTaints"] == ["sku=gpu:NoSchedule"]
    assert "nodeInitializationTaints" not in properties


def test_previews_know_taints_that_can_go() -> None:
    properties = ordered(more=given(AZURE_API_VERSION="2026-07-02-preview"), **TAINTED)

    assert properties["nodeTaints"] == ["sku=gpu:NoSchedule"]
    assert properties["nodeInitializationTaints"] == [
        "example.com/warm=:NoExecute",
        "karpenter.sh/unregistered=true:NoExecute",
    ]


@pytest.mark.parametrize("name", ["ws1", "a", "ws0a1b2c3d4", "abcdefghijkl"])
def test_a_pool_is_named_as_its_claim_where_aks_allows_it(name: str) -> None:
    assert agentpools.pool_name(ObjectMeta(name=name, uid="u")) == name


@pytest.mark.parametrize("name", ["ws-1", "1ws", "WS1", "abcdefghijklm", "a.b"])
def test_other_names_are_made_of_the_uid(name: str) -> None:
    made = agentpools.pool_name(ObjectMeta(name=name, uid="u"))

    assert agentpools.POOL_NAME.fullmatch(made)
    assert made == agentpools.pool_name(ObjectMeta(name=name, uid="u"))
    assert made != agentpools.pool_name(ObjectMeta(name=name, uid="v"))


@pytest.mark.parametrize(
    ("provider_id", "pool"),
    [
        (PROVIDER_ID, "ws1"),
        (PROVIDER_ID.upper().replace("AZURE:", "azure:"), "ws1"),
        (PROVIDER_ID.replace("aks-ws1-12345678-vmss", "aks-ws1-vmss"), ""),
        (
            "azure:///subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/x",
            "",
        ),
        ("local:///ws1", ""),
        ("", ""),
    ],
)
def test_machines_know_their_pool(provider_id: str, pool: str) -> None:
    assert agentpools.pool_of(provider_id) == pool


def test_an_instance_tells_what_the_pool_does() -> None:
    properties = ordered(Offering(zone="eastus-2", capacity_type="spot"))
    pool = AgentPool(
        name="ws1", state="Succeeded", properties={**properties, "nodeImageVersion": "img-1"}
    )

    found = agentpools.instance(pool, A100, "eastus", None)

    assert (found.claim_name, found.claim_uid) == ("ws1", "uid-1")
    assert (found.zone, found.capacity_type) == ("eastus-2", "spot")
    assert found.image_id == "img-1"
    assert found.created == NOW
    assert found.labels["karpenter.azure.com/sku-name"] == A100.name
    assert found.allocatable == A100.allocatable


def test_a_pool_without_tags_or_predecessors_labels_is_nobodys() -> None:
    stranger = AgentPool(name="ws1", state="Succeeded", properties={"nodeLabels": {"a": "b"}})

    assert not agentpools.belongs(stranger, ObjectMeta(name="ws1", uid="uid-1"))


def test_disks_of_claims_that_ask_for_none() -> None:
    assert ordered()["osDiskSizeGB"] == selection.DEFAULT_DISK_GIB
