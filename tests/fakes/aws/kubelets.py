"""What a machine makes of its user data when it boots: the Node that its kubelet registers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_string
from typing import Any

import yaml

from tests.fakes.aws.fleets import Launched

EFFECTS = {
    "NO_SCHEDULE": "NoSchedule",
    "PREFER_NO_SCHEDULE": "PreferNoSchedule",
    "NO_EXECUTE": "NoExecute",
}


@dataclass(frozen=True)
class Boot:
    """What nodeadm would start the kubelet with."""

    provider_id: str
    name: str
    cluster: str
    labels: Mapping[str, str]
    taints: list[dict[str, str]]


def boot(launched: Launched) -> Boot:
    """Of a machine with AL2023; AssertionError where it would not boot."""
    text = base64.b64decode(launched.template["LaunchTemplateData.UserData"]).decode()
    archive = message_from_string(text)
    assert archive.is_multipart(), text
    (config,) = [
        yaml.safe_load(str(part.get_payload()))
        for part in archive.walk()
        if part.get_content_type() == "application/node.eks.aws"
    ]
    assert config["kind"] == "NodeConfig", config
    kubelet = config["spec"]["kubelet"]
    return Boot(
        provider_id=f"aws:///{launched.zone}/{launched.id}",
        name=f"{launched.id}.ec2.internal",
        cluster=config["spec"]["cluster"]["name"],
        labels={**_labels(kubelet), **_cloud_labels(launched)},
        taints=kubelet["config"].get("registerWithTaints", []),
    )


def of_group(group: Mapping[str, Any], zone: str) -> Boot:
    """Of a managed node group's machine: EKS writes its user data from the group."""
    name = group["nodegroupName"]
    return Boot(
        provider_id=f"aws:///{zone}/i-{name}",
        name=f"i-{name}.ec2.internal",
        cluster=group["clusterName"],
        labels={
            **group["labels"],
            "eks.amazonaws.com/nodegroup": name,
            "node.kubernetes.io/instance-type": group["instanceTypes"][0],
            "topology.kubernetes.io/zone": zone,
        },
        taints=[{**each, "effect": EFFECTS[each["effect"]]} for each in group["taints"]],
    )


def _labels(kubelet: Mapping[str, Any]) -> dict[str, str]:
    flag = "--node-labels="
    (told,) = [each for each in kubelet["flags"] if each.startswith(flag)]
    return dict(pair.split("=", 1) for pair in told[len(flag) :].split(",") if pair)


def _cloud_labels(launched: Launched) -> dict[str, str]:
    """The cloud controller's."""
    return {
        "node.kubernetes.io/instance-type": launched.instance_type,
        "topology.kubernetes.io/zone": launched.zone,
    }
