"""GCENodeClass as a node pool has it."""

from __future__ import annotations

from typing import Any

import pytest

from cloudproviders.gcp import nodeclass
from cloudproviders.gcp.settings import from_settings
from cloudproviders.nodeclass import NodeClass
from kube.meta import ObjectMeta

SETTINGS = from_settings(
    {
        "GCP_PROJECT": "my-project",
        "GCP_LOCATION": "us-central1",
        "GCP_CLUSTER_NAME": "llm",
        "GCP_SERVICE_ACCOUNT": "default@my-project.iam.gserviceaccount.com",
        "GCP_ZONES": "us-central1-a",
    }
)


def a_class(**spec: Any) -> NodeClass:
    return NodeClass(metadata=ObjectMeta(name="default"), spec=spec)


def shape(**spec: Any) -> nodeclass.Shape:
    return nodeclass.of_class(a_class(**spec), SETTINGS)


def test_what_the_class_does_not_say_the_settings_do() -> None:
    assert shape() == nodeclass.of_settings(SETTINGS)


@pytest.mark.parametrize(
    ("spec", "image"),
    [
        ({"imageSelectorTerms": [{"alias": "ContainerOptimizedOS@latest"}]}, "COS_CONTAINERD"),
        ({"imageSelectorTerms": [{"alias": "Ubuntu2404@latest"}]}, "UBUNTU_CONTAINERD"),
        ({"imageSelectorTerms": [{"family": "Ubuntu"}]}, "UBUNTU_CONTAINERD"),
        ({"imageFamily": "Ubuntu2204"}, "UBUNTU_CONTAINERD"),
    ],
)
def test_the_image(spec: dict[str, Any], image: str) -> None:
    assert shape(**spec).image_type == image


def test_the_class_in_the_words_of_node_pools() -> None:
    found = shape(
        serviceAccount="nodes@my-project.iam.gserviceaccount.com",
        disks=[
            {"boot": True, "sizeGiB": 200, "category": "pd-ssd", "kmsKeyName": "key"},
            {"secondaryBootImage": "global/images/models"},
        ],
        gpuDriverVersion="disabled",
        gpuPartitionSize="1g.5gb",
        gpuSharing={"strategy": "TIME_SHARING", "maxSharedClientsPerGPU": 4},
        networkTags=["gpu"],
        labels={"team": "ml"},
        metadata={"serial-port-enable": "true"},
        kubeletConfiguration={"maxPods": 32},
        subnetRangeName="pods",
        networkConfig={"enablePrivateNodes": True},
        shieldedInstanceConfig={"enableSecureBoot": True},
        confidentialInstanceType="SEV",
        zones=["us-central1-c"],
        flexStart=True,
        maxRunDuration="1h30m",
        placementPolicy={"type": "COMPACT"},
        reservationAffinity={"consumeReservationType": "NO_RESERVATION"},
    )

    assert found.service_account == "nodes@my-project.iam.gserviceaccount.com"
    assert (found.disk_gib, found.disk_type) == (200, "pd-ssd")
    assert (found.gpu_driver, found.gpu_partition) == ("INSTALLATION_DISABLED", "1g.5gb")
    assert found.gpu_sharing == {
        "gpu_sharing_strategy": "TIME_SHARING",
        "max_shared_clients_per_gpu": 4,
    }
    assert (found.network_tags, found.resource_labels) == (("gpu",), {"team": "ml"})
    assert (found.max_pods, found.zones) == (32, ("us-central1-c",))
    assert (found.flex_start, found.max_run_seconds) == (True, 5400)
    assert found.network == {"pod_range": "pods", "enable_private_nodes": True}
    assert found.node_config == {
        "shielded_instance_config": {"enable_secure_boot": True},
        "confidential_nodes": {"enabled": True, "confidential_instance_type": "SEV"},
        "boot_disk_kms_key": "key",
        "secondary_boot_disks": [
            {"disk_image": "global/images/models", "mode": "CONTAINER_IMAGE_CACHE"}
        ],
        "reservation_affinity": {"consume_reservation_type": "NO_RESERVATION"},
    }


def test_reservations_are_for_claims_that_take_reserved() -> None:
    found = shape(
        reservationAffinity={
            "consumeReservationType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": ["mine"],
        }
    )

    assert found.reservations == ("mine",)
    assert "reservation_affinity" not in found.node_config


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"imageSelectorTerms": [{"id": "projects/p/global/images/i"}]}, "imageSelectorTerms: id"),
        ({"imageSelectorTerms": [{"alias": "Ubuntu@v20250901"}]}, "follows the cluster's"),
        ({"imageSelectorTerms": [{"family": "Ubuntu", "version": "v1"}]}, "follows the cluster's"),
        ({"disks": [{"boot": True}, {"boot": True}]}, "more than one has boot"),
        ({"disks": [{"category": "local-ssd"}]}, "local-ssd"),
        ({"networkConfig": {"subnetwork": "other"}}, "networkConfig.subnetwork"),
        (
            {"networkConfig": {"additionalNetworkInterfaces": [{"subnetwork": "s"}]}},
            "additionalNetworkInterfaces",
        ),
        (
            {"reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION"}},
            "needs values",
        ),
        ({"disks": "none"}, "validation error"),
    ],
)
def test_what_node_pools_cannot_do_makes_the_class_unready(spec: dict[str, Any], told: str) -> None:
    status = nodeclass.status(a_class(**spec))

    assert not status.ready
    (condition,) = status.conditions
    assert condition.type == "ValidationSucceeded"
    assert told in condition.message


def test_drift_is_of_what_the_machine_is_made_with() -> None:
    before = nodeclass.status(a_class(gpuDriverVersion="latest"))

    assert before.ready
    assert before.hash != nodeclass.status(a_class(gpuDriverVersion="default")).hash
    assert (
        before.hash
        == nodeclass.status(a_class(gpuDriverVersion="latest", zones=["us-central1-b"])).hash
    )
