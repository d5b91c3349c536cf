"""User data: with it a machine finds its cluster, closed and labelled."""

from __future__ import annotations

import tomllib
from email import message_from_string
from typing import Any

import pytest
import yaml

from apis.karpenter.v1.nodeclaim import Taint
from cloudproviders.aws import bootstrap
from cloudproviders.errors import CreateError
from tests.unit.cloudproviders.aws.facts import CLUSTER, a_spec

GPU_TAINT = Taint(key="sku", value="gpu", effect="NoSchedule")
TAINTS = [GPU_TAINT, bootstrap.UNREGISTERED]


def parts(text: str) -> list[tuple[str, str]]:
    archive = message_from_string(text)
    assert archive.is_multipart()
    return [
        (part.get_content_type(), str(part.get_payload()))
        for part in archive.walk()
        if not part.is_multipart()
    ]


def node_config(**spec: Any) -> dict[str, Any]:
    text = bootstrap.user_data("AL2023", CLUSTER, a_spec(**spec), {"team": "ml"}, TAINTS)
    found: dict[str, Any] = yaml.safe_load(parts(text)[0][1])
    return found


def test_al2023_gets_a_node_config() -> None:
    config = node_config(kubelet={"maxPods": 42, "clusterDNS": ["10.0.0.10"]})

    assert (config["apiVersion"], config["kind"]) == ("node.eks.aws/v1alpha1", "NodeConfig")
    assert config["spec"]["cluster"] == {
        "name": "demo",
        "apiServerEndpoint": "https://demo.eks",
        "certificateAuthority": "Q0E=",
        "cidr": "10.100.0.0/16",
    }
    kubelet = config["spec"]["kubelet"]
    assert kubelet["flags"] == ["--node-labels=team=ml"]
    assert kubelet["config"] == {
        "maxPods": 42,
        "clusterDNS": ["10.0.0.10"],
        "registerWithTaints": [
            {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
            {"key": "karpenter.sh/unregistered", "effect": "NoExecute"},
        ],
    }


def test_local_disks_are_striped_where_the_class_says_so() -> None:
    config = node_config(instanceStorePolicy="RAID0")

    assert config["spec"]["instance"] == {"localStorage": {"strategy": "RAID0"}}


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        pytest.param("#!/bin/bash\necho hi", "text/x-shellscript", id="script"),
        pytest.param("kind: NodeConfig\nspec: {}", "application/node.eks.aws", id="config"),
        pytest.param(
            'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n'
            "--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--b--\n",
            "text/x-shellscript",
            id="archive",
        ),
    ],
)
def test_the_users_part_follows_ours(told: str, kind: str) -> None:
    text = bootstrap.user_data("AL2023", CLUSTER, a_spec(userData=told), {}, [])

    assert [each for each, _ in parts(text)] == ["application/node.eks.aws", kind]


def test_bottlerocket_gets_settings() -> None:
    spec = a_spec(userData='[settings.motd]\nmotd = "hi"\n[settings.kubernetes]\nmax-pods = 5\n')

    text = bootstrap.user_data("Bottlerocket", CLUSTER, spec, {"team": "ml"}, TAINTS)

    found = tomllib.loads(text)["settings"]
    assert found["motd"] == {"motd": "hi"}
    assert found["kubernetes"] == {
        "max-pods": 5,
        "api-server": "https://demo.eks",
        "cluster-certificate": "Q0E=",
        "cluster-name": "demo",
        "cluster-dns-ip": "10.100.0.10",
        "node-labels": {"team": "ml"},
        "node-taints": {
            "sku": ["gpu:NoSchedule"],
            "karpenter.sh/unregistered": [":NoExecute"],
        },
    }


@pytest.mark.parametrize(
    ("family", "told", "reason"),
    [
        ("AL2023", "x" * 17_000, "UserDataSizeLimitExceeded"),
        ("Bottlerocket", "this is no TOML", "InvalidUserData"),
        ("AL2023", "Content-Type: text/plain\n\nhi", "InvalidUserData"),
        ("AL2", "", "UnsupportedAMIFamily"),
    ],
)
def test_what_cannot_boot_is_told(family: str, told: str, reason: str) -> None:
    with pytest.raises(CreateError) as caught:
        bootstrap.user_data(family, CLUSTER, a_spec(userData=told), {}, [])

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("label", "may"),
    [
        ("team", True),
        ("kaito.sh/workspace", True),
        ("karpenter.sh/capacity-type", True),
        ("karpenter.k8s.aws/ec2nodeclass", True),
        ("node.kubernetes.io/instance-type", True),
        ("topology.kubernetes.io/zone", True),
        ("node-role.kubernetes.io/gpu", False),
        ("kubernetes.io/role", False),
        ("example.k8s.io/x", False),
    ],
)
def test_kubelets_refuse_most_labels_of_kubernetes_own(label: str, may: bool) -> None:
    assert bootstrap.settable(label) is may
