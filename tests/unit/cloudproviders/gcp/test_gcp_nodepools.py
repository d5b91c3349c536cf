"""The order for a claim, field by field, and what is read back."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from google.cloud import container_v1

import cloudproviders
from apis.karpenter.v1.nodeclaim import NodeClaim
from cloudproviders.gcp import nodepools
from cloudproviders.gcp.nodeclass import Shape
from cloudproviders.gcp.pool import Pool
from cloudproviders.instancetype import Offering
from cloudproviders.selection import Choice
from tests.fakes import objects

NOW = datetime(2026, 11, 21, tzinfo=UTC)
UID = "8d1f0c5e-0000-4000-8000-000000000001"
SHAPE = Shape(image_type="COS_CONTAINERD", gpu_driver="LATEST")
GKE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
GCP_LABEL = re.compile(r"^[a-z0-9_-]{0,63}$")


def choice(machine: str = "g2-standard-4", kind: str = "on-demand") -> Choice:
    found = cloudproviders.instance_types("gcp")[machine]
    return Choice(found, Offering(zone="us-central1-a", capacity_type=kind))


def claim(name: str = "ws1", **given: Any) -> NodeClaim:
    return objects.claim(name, uid=UID, **given)


def config(made: NodeClaim, shape: Shape = SHAPE, **given: Any) -> dict[str, Any]:
    picked = given.pop("choice", choice())
    found: dict[str, Any] = nodepools.order(made, picked, shape, now=NOW, **given)["config"]
    return found


@pytest.mark.parametrize(
    "name",
    ["ws1", "ws0a1b2c3d4", "a.b.c", "x" * 63, "9lives", "-", "pool-", "a" * 40, "a" * 41],
)
def test_any_claim_has_a_name_that_gke_takes(name: str) -> None:
    found = nodepools.name_of(claim(name))

    assert GKE_NAME.match(found)
    assert len(nodepools.name_of(claim(name), attempt=99)) <= 40
    assert found == nodepools.name_of(claim(name))
    assert found != nodepools.name_of(claim(f"{name}x"))


def test_a_name_that_fits_is_kept() -> None:
    assert nodepools.name_of(claim("ws0a1b2c3d4")) == "ws0a1b2c3d4"


def test_the_order_is_one_machine_in_one_zone_that_nobody_else_looks_after() -> None:
    order = nodepools.order(claim(), choice(), SHAPE, now=NOW)

    assert order["initial_node_count"] == 1
    assert order["locations"] == ["us-central1-a"]
    assert order["autoscaling"] == {"enabled": False}
    assert order["management"] == {"auto_repair": False, "auto_upgrade": False}
    assert order["config"]["machine_type"] == "g2-standard-4"
    assert order["config"]["accelerators"] == [
        {
            "accelerator_type": "nvidia-l4",
            "accelerator_count": 1,
            "gpu_driver_installation_config": {"gpu_driver_version": "LATEST"},
        }
    ]


def test_a_cluster_on_a_release_channel_upgrades_its_pools_without_a_second_machine() -> None:
    order = nodepools.order(claim(), choice(), SHAPE, now=NOW, upgraded=True)

    assert order["management"]["auto_upgrade"] is True
    assert order["upgrade_settings"] == {"max_surge": 0, "max_unavailable": 1}


def test_the_order_is_one_that_googles_library_knows() -> None:
    shape = replace(
        SHAPE,
        gpu_partition="1g.5gb",
        gpu_sharing={"gpu_sharing_strategy": "MPS", "max_shared_clients_per_gpu": 4},
        max_pods=32,
        network={"pod_range": "pods"},
        placement={"type_": "COMPACT"},
        max_run_seconds=3600,
        service_account="a@p.iam.gserviceaccount.com",
        reservations=("mine",),
    )
    taints = [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
    picked = choice("a2-highgpu-1g", "reserved")

    order = nodepools.order(claim(taints=taints), picked, shape, now=NOW, reservation="mine")
    known = container_v1.NodePool(order)

    assert known.config.accelerators[0].gpu_partition_size == "1g.5gb"
    assert known.config.reservation_affinity.values == ["mine"]
    assert known.config.taints[0].effect.name == "NO_SCHEDULE"
    assert known.max_pods_constraint.max_pods_per_node == 32


@pytest.mark.parametrize(("kind", "spot"), [("spot", True), ("on-demand", False)])
def test_the_capacity_type_is_bought(kind: str, spot: bool) -> None:
    found = config(claim(), choice=choice(kind=kind))

    assert found["spot"] is spot
    assert found["labels"]["karpenter.sh/capacity-type"] == kind


def test_a_reserved_machine_comes_from_its_reservation_alone() -> None:
    found = config(claim(), choice=choice(kind="reserved"), reservation="mine")

    assert found["reservation_affinity"] == {
        "consume_reservation_type": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["mine"],
    }


def test_flex_start_is_for_machines_on_demand() -> None:
    shape = replace(SHAPE, flex_start=True, max_run_seconds=60)

    assert config(claim(), shape)["flex_start"] is True
    assert config(claim(), shape)["max_run_duration"] == {"seconds": 60}
    assert "flex_start" not in config(claim(), shape, choice=choice(kind="spot"))


def test_nodes_boot_closed() -> None:
    taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
    startup = [{**taint, "value": "other"}, {"key": "warm", "effect": "NoExecute"}]

    found = config(claim(taints=[taint], startupTaints=startup))

    assert found["taints"] == [
        {"key": "sku", "value": "gpu", "effect": "NO_SCHEDULE"},
        {"key": "warm", "value": "", "effect": "NO_EXECUTE"},
        {"key": "karpenter.sh/unregistered", "value": "", "effect": "NO_EXECUTE"},
    ]


def test_labels_that_a_kubelet_may_not_give_itself_wait_for_registration() -> None:
    found = config(
        claim(
            labels={
                "kaito.sh/workspace": "phi",
                "apps": "phi",
                "karpenter.sh/nodepool": "kaito",
                "kubernetes.io/role": "x",
                "node.kubernetes.io/instance-type": "x",
                "node-restriction.kubernetes.io/a": "x",
                "cloud.google.com/gke-spot": "x",
            }
        )
    )

    assert found["labels"] == {
        "kaito.sh/workspace": "phi",
        "apps": "phi",
        "karpenter.sh/nodepool": "kaito",
        "karpenter.sh/capacity-type": "on-demand",
        "kaito.sh/provisioner": "gpu-provisioner",
        "kaito.sh/nodeclaim": "ws1",
    }


@pytest.mark.parametrize("name", ["ws1", "a.b.c", "x" * 200])
def test_whose_pool_it_is_survives_the_alphabet_of_gcp_labels(name: str) -> None:
    shape = replace(SHAPE, resource_labels={"Team": "ML & Co"})
    order = nodepools.order(claim(name), choice(), shape, now=NOW)

    for key, value in order["config"]["resource_labels"].items():
        assert GCP_LABEL.match(key)
        assert GCP_LABEL.match(value)
    assert order["config"]["resource_labels"]["team"] == "ml---co"
    pool = nodepools.ordered(order, "1.33.4-gke.1000")
    assert (pool.claim_name, pool.claim_uid, pool.created) == (name, UID, NOW)
    assert pool.ours
    assert all(len(value) <= 63 for value in order["config"]["labels"].values())


@pytest.mark.parametrize(
    ("family", "shape", "image", "driver"),
    [
        ("ubuntu", SHAPE, "UBUNTU_CONTAINERD", "DEFAULT"),
        ("azurelinux", SHAPE, "COS_CONTAINERD", "LATEST"),
        ("", SHAPE, "COS_CONTAINERD", "LATEST"),
        ("ubuntu", replace(SHAPE, gpu_driver="INSTALLATION_DISABLED"), "UBUNTU_CONTAINERD", ""),
    ],
)
def test_the_image_that_the_claim_asks_for(
    family: str, shape: Shape, image: str, driver: str
) -> None:
    made = claim()
    annotations = {"kaito.sh/node-image-family": family}
    metadata = msgspec.structs.replace(made.metadata, annotations=annotations)
    found = config(made.model_copy(update={"metadata": metadata}), shape)

    installed = found["accelerators"][0]["gpu_driver_installation_config"]["gpu_driver_version"]
    assert found["image_type"] == image
    assert installed == (driver or "INSTALLATION_DISABLED")


@pytest.mark.parametrize(
    ("requests", "shape", "disk"),
    [
        ({"storage": "128Gi"}, SHAPE, 128),
        ({"storage": "128Gi"}, replace(SHAPE, disk_gib=50), 128),
        ({}, replace(SHAPE, disk_gib=50), 50),
        ({}, SHAPE, 1024),
    ],
)
def test_the_disk(requests: dict[str, str], shape: Shape, disk: int) -> None:
    assert config(claim(resources={"requests": requests}), shape)["disk_size_gb"] == disk


@pytest.mark.parametrize(
    ("machine", "disk"),
    [
        ("g2-standard-4", "pd-balanced"),
        ("a3-highgpu-8g", "pd-balanced"),
        ("a3-ultragpu-8g", "hyperdisk-balanced"),
        ("a4-highgpu-8g", "hyperdisk-balanced"),
        ("g4-standard-48", "hyperdisk-balanced"),
    ],
)
def test_a_machine_gets_a_disk_that_it_can_boot_from(machine: str, disk: str) -> None:
    assert config(claim(), choice=choice(machine))["disk_type"] == disk


@pytest.mark.parametrize(
    ("provider_id", "held"),
    [
        ("gce://p/us-central1-a/gke-c-ws1-0123abcd-x7k2", True),
        ("gce://p/us-central1-b/gke-c-ws1-0123abcd-x7k2", False),
        ("gce://p/us-central1-a/gke-c-ws1-0123abce-x7k2", False),
        ("gce://p/us-central1-a/gke-c-ws1-0123abcd", False),
        ("aws:///us-east-1a/i-1", False),
        ("", False),
    ],
)
def test_a_machine_is_known_by_its_groups_name(provider_id: str, held: bool) -> None:
    group = "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a"
    pool = Pool(
        name="ws1",
        state="RUNNING",
        groups=(f"{group}/instanceGroupManagers/gke-c-ws1-0123abcd-grp",),
    )

    assert pool.holds(provider_id) is held


@pytest.mark.parametrize("labels", [{}, {"kaito-provisioner": "gpu-provisioner"}])
def test_a_pool_without_our_labels_is_not_ours(labels: dict[str, str]) -> None:
    assert not Pool(name="default-pool", state="RUNNING", resource_labels=labels).ours
