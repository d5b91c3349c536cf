"""AKSNodeClass, and notices on Nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudproviders.azure import nodeclass, notices
from cloudproviders.nodeclass import NodeClass
from kube.meta import Condition, ObjectMeta
from kube.objects import Node, NodeSpec, NodeStatus
from tests.fakes import objects
from tests.unit.cloudproviders.azure.test_azure_pools import given

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/n"


def judged(**spec: object) -> dict[str, tuple[str, str]]:
    found = nodeclass.judged(NodeClass(spec=dict(spec)), given(), "1.34.2")
    return {each.type: (each.status, each.reason) for each in found.conditions}


def test_a_class_is_ready() -> None:
    found = nodeclass.judged(NodeClass(spec={"vnetSubnetID": SUBNET}), given(), "1.34.2")

    assert found.ready
    assert found.fields["kubernetesVersion"] == "1.34.2"
    assert found.fields["images"] == [{"id": "Ubuntu"}]


def test_a_subnet_that_is_none() -> None:
    assert judged(vnetSubnetID="/nowhere")["SubnetsReady"] == ("False", "SubnetIDInvalid")


def test_a_class_that_cannot_be_read() -> None:
    assert judged(osDiskSizeGB="large") == {"ValidationSucceeded": ("False", "Unreadable")}


def test_tags_alone_do_not_make_machines_drift() -> None:
    plain = nodeclass.judged(NodeClass(spec={"maxPods": 30}), given(), "")
    tagged = nodeclass.judged(NodeClass(spec={"maxPods": 30, "tags": {"a": "b"}}), given(), "")
    other = nodeclass.judged(NodeClass(spec={"maxPods": 31}), given(), "")

    assert plain.hash == tagged.hash != other.hash


@pytest.mark.parametrize(
    ("has", "drift"), [("AzureLinux", ""), ("Ubuntu", "ImageDrift"), (None, "")]
)
def test_another_image_family_is_drift(has: str | None, drift: str) -> None:
    made = NodeClass(spec={"imageFamily": "AzureLinux"})

    assert nodeclass.drift(made, objects.claim(), {"osSKU": has}, given()) == drift


def node(*conditions: Condition) -> Node:
    return Node(
        metadata=ObjectMeta(name="n"),
        spec=NodeSpec(provider_id="azure:///x"),
        status=NodeStatus(conditions=conditions),
    )


def condition(kind: str, reason: str = "", status: str = "True") -> Condition:
    return Condition(type=kind, status=status, reason=reason, last_transition_time=NOW)  # type: ignore[arg-type]


def test_a_healthy_node_has_no_notice() -> None:
    assert notices.interruption(node(condition("PreemptionScheduled", status="False"))) is None


@pytest.mark.parametrize(
    "told",
    [condition("PreemptionScheduled"), condition("VMEventScheduled", "PreemptScheduled")],
)
def test_spot_machines_go_within_30_seconds(told: Condition) -> None:
    found = notices.interruption(node(told))

    assert found is not None
    assert (found.kind, found.advisory) == ("spot_interrupted", False)
    assert found.deadline == NOW + timedelta(seconds=30)
    assert found.provider_id == "azure:///x"


@pytest.mark.parametrize(
    ("reason", "advisory"),
    [("TerminateScheduled", False), ("RedeployScheduled", False), ("FreezeScheduled", True)],
)
def test_maintenance(reason: str, advisory: bool) -> None:
    found = notices.interruption(node(condition("VMEventScheduled", reason)))

    assert found is not None
    assert (found.kind, found.advisory) == ("scheduled_change", advisory)
