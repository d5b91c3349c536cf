"""The chart's node classes: what is accepted, and how large their disks are."""

from __future__ import annotations

import json

import pytest

from apis.karpenter.nodeclasses.disk import disk_gib
from workspace_controller.nodes.classes import parse
from workspace_controller.settings import SettingsError, process

GIVEN = [
    {"name": "image-family-ubuntu", "default": True, "spec": {"osDiskSizeGB": 300}},
    {"name": "image-family-azure-linux", "spec": {"imageFamily": "AzureLinux"}},
]


def karpenter(given: object = GIVEN, **more: str):
    text = given if isinstance(given, str) else json.dumps(given)
    return process({"NODE_PROVISIONER": "karpenter", "KARPENTER_NODE_CLASSES": text, **more})


def test_what_the_chart_says():
    classes = karpenter().node_classes
    assert classes is not None
    assert classes.names == ("image-family-ubuntu", "image-family-azure-linux")
    assert classes.default.name == "image-family-ubuntu"
    assert classes.default.disk_gib == 300
    assert classes.resource.path() == "/apis/karpenter.azure.com/v1beta1/aksnodeclasses"
    assert classes.are_objects


def test_of_another_cloud():
    classes = karpenter(
        KARPENTER_NODE_CLASS_GROUP="karpenter.k8s.aws",
        KARPENTER_NODE_CLASS_KIND="EC2NodeClass",
        KARPENTER_NODE_CLASS_VERSION="v1",
        KARPENTER_NODE_CLASS_RESOURCE_NAME="ec2nodeclasses",
    ).node_classes
    assert classes is not None
    assert classes.resource.path() == "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"


def test_elsewhere_there_are_none():
    assert process({"KARPENTER_NODE_CLASSES": "nonsense"}).node_classes is None


def test_who_brings_the_nodes_needs_none():
    told = karpenter("", FEATURE_GATES="disableNodeAutoProvisioning=true")
    assert (told.provisioner, told.node_classes) == ("byo", None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param("", "at least one node class", id="nothing"),
        pytest.param("[]", "at least one node class", id="none"),
        pytest.param("{", "is no JSON", id="no JSON"),
        pytest.param({"name": "a"}, "JSON array", id="no array"),
        pytest.param(["a"], r"\[0\] must be an object", id="no object"),
        pytest.param([{"default": True}], r"\[0\]\.name is None", id="no name"),
        pytest.param([{"name": "Ubuntu", "default": True}], "no DNS-1123 subdomain", id="case"),
        pytest.param([{"name": "a..b", "default": True}], "no DNS-1123 subdomain", id="dots"),
        pytest.param([{"name": "a" * 254, "default": True}], "DNS-1123 subdomain", id="long"),
        pytest.param([{"name": "a", "default": "yes"}], "true or false", id="default"),
        pytest.param([{"name": "a", "default": True, "spec": []}], "spec must be", id="spec"),
        pytest.param([{"name": "a", "default": True, "disk": 1}], "'disk'", id="unknown field"),
        pytest.param([{"name": "a"}, {"name": "b"}], "0 node classes with default", id="none is"),
        pytest.param(
            [{"name": "a", "default": True}, {"name": "b", "default": True}],
            "2 node classes with default",
            id="both are",
        ),
        pytest.param(
            [{"name": "a", "default": True}, {"name": "a"}], "two node classes", id="twice"
        ),
    ],
)
def test_what_is_wrong_is_named(given, words):
    with pytest.raises(SettingsError, match=words) as refused:
        karpenter(given)
    assert str(refused.value).startswith("KARPENTER_NODE_CLASSES ")


def test_names_may_have_dots():
    assert parse('[{"name": "gpu.ubuntu-22", "default": true}]')[0].name == "gpu.ubuntu-22"


@pytest.mark.parametrize(
    ("spec", "disk"),
    [
        pytest.param({"osDiskSizeGB": 300}, 300, id="aks"),
        pytest.param(
            {
                "blockDeviceMappings": [
                    {"deviceName": "/dev/xvda", "ebs": {"volumeSize": "20Gi"}},
                    {"deviceName": "/dev/xvdb", "ebs": {"volumeSize": "1Ti"}},
                ]
            },
            1024,
            id="ec2",
        ),
        pytest.param({"disks": [{"sizeGiB": 500, "boot": True}]}, 500, id="gce"),
        pytest.param({"blockDeviceMappings": [{"ebs": {"volumeSize": "large"}}]}, 0, id="nonsense"),
        pytest.param({}, None, id="left to the cloud"),
    ],
)
def test_disks(spec, disk):
    assert disk_gib(spec) == disk
