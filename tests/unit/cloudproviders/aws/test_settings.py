"""What the operator sets for AWS."""

from __future__ import annotations

import pytest

from cloudproviders.aws import settings
from cloudproviders.errors import CloudConfigurationError

LEAST = {"AWS_REGION": "eu-west-1", "AWS_CLUSTER_NAME": "demo"}


def test_little_suffices() -> None:
    found = settings.of(LEAST)

    assert (found.region, found.cluster, found.mode) == ("eu-west-1", "demo", "ec2")
    assert found.subnet_tags == {"karpenter.sh/discovery": "demo"}
    assert found.credentials is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        pytest.param({"AWS_REGION": ""}, "AWS_REGION", id="no region"),
        pytest.param({"AWS_CLUSTER_NAME": ""}, "AWS_CLUSTER_NAME", id="no cluster"),
        pytest.param({"AWS_MODE": "asg"}, "AWS_MODE.*ec2, nodegroup", id="no such mode"),
        pytest.param({"AWS_MODE": "nodegroup"}, "AWS_NODE_ROLE_ARN", id="groups without a role"),
        pytest.param({"AWS_AMI_FAMILY": "Windows"}, "AWS_AMI_FAMILY", id="no such family"),
        pytest.param({"AWS_SUBNET_TAGS": "a"}, "AWS_SUBNET_TAGS", id="no tags"),
        pytest.param({"AWS_DISK_GIB": "big"}, "AWS_DISK_GIB", id="no number"),
        pytest.param({"AWS_DISK_GIB": "0"}, "AWS_DISK_GIB", id="nothing"),
    ],
)
def test_what_cannot_work_is_told_by_its_variable(given: dict[str, str], named: str) -> None:
    with pytest.raises(CloudConfigurationError, match=named):
        settings.of({**LEAST, **given})


def test_keys_are_not_shown() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": "secret1"}
    found = settings.of({**LEAST, **keys, "AWS_SESSION_TOKEN": "secret2"})

    assert found.credentials is not None
    assert found.credentials.secret_access_key == "secret1"
    assert "secret" not in repr(found)


def test_claims_without_a_class_get_one_from_the_settings() -> None:
    given = {
        **LEAST,
        "AWS_SUBNET_TAGS": "tier=private, team=*",
        "AWS_AMI_FAMILY": "bottlerocket",
        "AWS_INSTANCE_PROFILE": "nodes",
    }

    spec = settings.node_class_spec(settings.of(given))

    assert spec["subnetSelectorTerms"] == [{"tags": {"tier": "private", "team": "*"}}]
    assert spec["amiSelectorTerms"] == [{"alias": "bottlerocket@latest"}]
    assert spec["amiFamily"] == "Bottlerocket"
