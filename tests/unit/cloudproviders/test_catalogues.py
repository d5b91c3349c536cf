"""The clouds that are built in: their instance types and the shape of their claims."""

from __future__ import annotations

from typing import cast

import pytest
from pydantic import ValidationError

import cloudproviders
from apis.gpu import GPU
from cloudproviders import catalog
from cloudproviders.errors import CloudConfigurationError, UnknownCloudError
from cloudproviders.profile import CloudProfile
from kube import quantity
from kube.client import Client

NO_CLIENT = cast("Client", None)


@pytest.mark.parametrize(
    ("cloud", "count"),
    [("azure", 14), ("aws", 35), ("arc", 8), ("gcp", 32), ("local", 4), ("kwok", 6)],
)
def test_each_catalogue_is_whole(cloud: str, count: int) -> None:
    types = cloudproviders.instance_types(cloud)

    assert len(types) == count
    for name, each in types.items():
        assert each.name == name
        assert each.cpus > 0
        assert each.memory_gib > 0
        assert each.offerings
        assert each.gpu.count == 0 or each.gpu.memory_gib > 0
        for resource, amount in each.allocatable.items():
            assert 0 < quantity.parse(amount) <= quantity.parse(each.capacity[resource])


@pytest.mark.parametrize(
    ("cloud", "name", "gpu"),
    [
        ("azure", "Standard_NC24ads_A100_v4", GPU(1, "NVIDIA A100", 80.0, "8.0")),
        ("azure", "Standard_ND96asr_A100_v4", GPU(8, "NVIDIA A100", 40.0, "8.0")),
        ("azure", "Standard_NG32ads_V620_v1", GPU(1, "AMD Radeon PRO V620", 32.0)),
        ("aws", "p5.48xlarge", GPU(8, "NVIDIA H100", 80.0, "9.0")),
        ("aws", "inf2.24xlarge", GPU(6, "AWS Inferentia2 accelerators", 32.0)),
        ("gcp", "a2-highgpu-2g", GPU(2, "NVIDIA A100", 40.0, "8.0")),
        ("arc", "Standard_NC32_A16", GPU(2, "NVIDIA A16", 16.0, "8.6")),
        ("local", "local-gpu-2", GPU(2, "NVIDIA-A10", 24.0, "8.6")),
        ("local", "local-cpu-2", GPU(0)),
    ],
)
def test_memory_is_that_of_one_gpu(cloud: str, name: str, gpu: GPU) -> None:
    assert cloudproviders.instance_types(cloud)[name].gpu == gpu


def test_names_are_found_in_either_case() -> None:
    types = cloudproviders.instance_types("azure")

    assert types["standard_nc24ads_a100_v4"].name == "Standard_NC24ads_A100_v4"
    assert types.get("Standard_D2s_v5") is None


@pytest.mark.parametrize(
    ("cloud", "name", "resource"),
    [
        ("aws", "g5.xlarge", "nvidia.com/gpu"),
        ("aws", "g4ad.xlarge", "amd.com/gpu"),
        ("aws", "trn1.2xlarge", "aws.amazon.com/neuron"),
    ],
)
def test_accelerators_are_resources_of_their_vendor(cloud: str, name: str, resource: str) -> None:
    assert cloudproviders.instance_types(cloud)[name].capacity[resource] == "1"


def test_the_system_keeps_its_share() -> None:
    parsed = catalog.parse(
        """
        defaults: {overhead: {cpu: 100m, memory: "7.5%", nvidia.com/gpu: "1"}}
        types: [{name: t, cpus: 4, memoryGiB: 16}]
        """
    )

    memory = quantity.parse("16Gi") - quantity.parse("1258291Ki")
    assert parsed["t"].allocatable == {
        "pods": "110",
        "cpu": "3900m",
        "memory": quantity.fmt(memory),
    }


@pytest.mark.parametrize(
    ("cloud", "group", "kind", "storage"),
    [
        ("azure", "kaito.sh", "KaitoNodeClass", True),
        ("arc", "kaito.sh", "KaitoNodeClass", True),
        ("local", "kaito.sh", "KaitoNodeClass", False),
        ("aws", "karpenter.k8s.aws", "EC2NodeClass", False),
        ("gcp", "karpenter.k8s.gcp", "GCENodeClass", False),
        ("kwok", "karpenter.kwok.sh", "KWOKNodeClass", False),
    ],
)
def test_profiles(cloud: str, group: str, kind: str, storage: bool) -> None:
    profile = cloudproviders.profile(cloud)

    ref = profile.node_class_ref
    assert (ref.group, ref.kind, ref.name) == (group, kind, "default")
    assert profile.requests_storage is storage
    assert profile.taints == ({"key": "sku", "value": "gpu", "effect": "NoSchedule"},)
    asked = [need["key"] for need in profile.requirements_for("any")]
    assert "karpenter.sh/nodepool" not in [*profile.labels, *asked]


def test_claims_in_kaitos_shape_name_its_pool_and_ask_for_a_disk() -> None:
    profile = cloudproviders.profile("azure").in_kaitos_shape()

    pool = {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["kaito"]}
    assert pool in profile.requirements_for("Standard_NC24ads_A100_v4")
    assert profile.labels["karpenter.sh/nodepool"] == "kaito"
    assert profile.requests_storage


def test_requirements_name_the_instance_type() -> None:
    asked = cloudproviders.profile("azure").requirements_for("Standard_NC24ads_A100_v4")

    sku = {
        "key": "karpenter.azure.com/sku-name",
        "operator": "In",
        "values": ["Standard_NC24ads_A100_v4"],
    }
    assert sku in asked


def test_requirements_of_gpus_are_not_asked_of_machines_without() -> None:
    profile = cloudproviders.profile("aws")

    assert len(profile.requirements_for("g5.xlarge", gpus=1)) == 1
    assert profile.requirements_for("m5.xlarge", gpus=0) == []


def test_a_profile_with_a_field_that_nobody_reads_is_refused() -> None:
    ref = {"group": "g", "kind": "k", "name": "n"}

    with pytest.raises(ValidationError):
        CloudProfile.model_validate({"nodeClassRef": ref, "labells": {}})


@pytest.mark.parametrize("cloud", ["nimbus", "AZURE", ""])
def test_a_cloud_without_a_provider_is_refused_with_the_list_of_those_there_are(
    cloud: str,
) -> None:
    with pytest.raises(UnknownCloudError, match="one of: arc, aws, azure, gcp, kwok, local"):
        cloudproviders.load(cloud, {}, NO_CLIENT)


def test_an_unknown_cloud_has_neither_catalogue_nor_profile() -> None:
    with pytest.raises(UnknownCloudError, match="arc, aws, azure, gcp, kwok, local"):
        cloudproviders.instance_types("nimbus")
    with pytest.raises(UnknownCloudError):
        cloudproviders.profile("nimbus")


@pytest.mark.parametrize("cloud", ["kwok", "local"])
def test_each_provider_serves_the_node_class_of_its_profile(cloud: str) -> None:
    settings = {"LOCAL_MACHINES_URL": "http://x", "LOCAL_MACHINES_TOKEN_FILE": "/token"}
    provider = cloudproviders.load(cloud, settings, NO_CLIENT)

    ref = cloudproviders.profile(cloud).node_class_ref
    assert (ref.group, ref.kind) == tuple(provider.node_classes[0])
    assert provider.name == cloud


@pytest.mark.parametrize(
    ("cloud", "settings", "named"),
    [
        ("local", {}, "LOCAL_MACHINES_URL and LOCAL_MACHINES_TOKEN_FILE"),
        ("local", {"LOCAL_MACHINES_URL": "http://x"}, "LOCAL_MACHINES_TOKEN_FILE"),
        ("kwok", {"KWOK_BOOT_SECONDS": "soon"}, "KWOK_BOOT_SECONDS"),
    ],
)
def test_what_a_provider_lacks_is_named(cloud: str, settings: dict[str, str], named: str) -> None:
    with pytest.raises(CloudConfigurationError, match=named):
        cloudproviders.load(cloud, settings, NO_CLIENT)
