"""The chart of the provisioner."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import cast

import pytest

import cloudproviders
from gpu_provisioner import settings
from kube.client import Client
from tests.conformance.charts.rendering import (
    CHARTS,
    LOCAL,
    Object,
    allows,
    assert_rights,
    bound_role,
    container,
    environment,
    filled_in,
    only,
    render,
)


def test_provisioner_on_the_local_cloud() -> None:
    objects = render("gpu-provisioner", LOCAL)
    assert environment(objects) == {
        "CLOUD_PROVIDER": "local",
        "METRICS_PORT": "8080",
        "HEALTH_PROBE_PORT": "8081",
        "DEBUG_PORT": "8082",
        "LEADER_ELECT": "true",
        "LEADER_ELECTION_NAME": "gpu-provisioner-leader-election",
        "LOG_LEVEL": "info",
        "POD_NAMESPACE": "(from the pod)",
        "POD_NAME": "(from the pod)",
        "LOCAL_MACHINES_URL": "http://10.88.0.1:10700",
        "LOCAL_MACHINES_TOKEN_FILE": "/var/run/secrets/local-machines/token",
    }
    assert container(objects)["command"] == ["gpu-provisioner"]
    (volume,) = (
        volume
        for volume in only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    )
    assert volume["secret"] == {
        "secretName": "machines",
        "items": [{"key": "token", "path": "token"}],
    }


def test_on_the_hosts_network_nothing_listens_on_its_loopback() -> None:
    """Where all users of the node could ask it, and two replicas would want the port."""
    assert (
        environment(render("gpu-provisioner", {**LOCAL, "hostNetwork": True}))["DEBUG_PORT"] == "0"
    )


def test_provisioner_elsewhere_has_no_machines_api() -> None:
    objects = render("gpu-provisioner", {"cloudProviderName": "kwok"})
    assert not [name for name in environment(objects) if name.startswith("LOCAL_")]


CLOUDS = ("arc", "aws", "azure", "gcp")
WEBHOOKS_OWN = {"AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/token"}
"""What the workload identity webhook adds to the pod."""


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_the_program_understands_each_clouds_values(cloud: str) -> None:
    objects = render("gpu-provisioner", file=CHARTS / f"gpu-provisioner/values/{cloud}.yaml")
    told = settings.from_environment({**environment(objects), **WEBHOOKS_OWN})

    provider = cloudproviders.load(told.cloud, told.cloud_settings, cast("Client", None))

    assert provider.name == cloud
    await provider.close()


@pytest.mark.parametrize("cloud", [*CLOUDS, "kwok"])
def test_every_value_of_a_cloud_is_a_variable_that_its_provider_reads(cloud: str) -> None:
    schema = json.loads((CHARTS / "gpu-provisioner/values.schema.json").read_text())
    values = schema["properties"]["settings"]["properties"][cloud]["properties"]
    folders = [cloud, "azure"] if cloud == "arc" else [cloud]  # which it shares
    sources = "".join(
        path.read_text()
        for folder in folders
        for path in Path(cloudproviders.__file__).parent.joinpath(folder).glob("*.py")
    ).replace("AZURE_" if cloud == "arc" else "\0", "ARC_")
    read = set(re.findall(rf'"({cloud.upper()}_[A-Z_]+)"', sources))
    assert {f"{cloud.upper()}_{_snake(name)}" for name in values} <= read


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).upper()


def test_lists_and_maps_become_what_the_program_splits() -> None:
    values = filled_in(CHARTS / "gpu-provisioner/values/azure.yaml")
    values["settings"]["azure"] |= {"zones": [1, 2, 3], "tags": {"team": "ml"}}
    seen = environment(render("gpu-provisioner", {**values, "timeouts": {"registration": 1200}}))
    assert seen["AZURE_ZONES"] == "1,2,3"
    assert seen["AZURE_TAGS"] == "team=ml"
    assert seen["REGISTRATION_TIMEOUT"] == "1200"
    assert "LAUNCH_TIMEOUT" not in seen


def test_another_clouds_values_stay_out() -> None:
    values = {"cloudProviderName": "kwok", "settings": {"aws": {"region": "us-east-1"}}}
    assert not [name for name in environment(render("gpu-provisioner", values)) if "AWS" in name]


def test_an_environment_entry_of_the_user_replaces_ours() -> None:
    values = {
        **LOCAL,
        "controller": {
            "env": [{"name": "LOG_LEVEL", "value": "debug"}, {"name": "MORE", "value": "1"}]
        },
    }
    seen = environment(render("gpu-provisioner", values))
    assert (seen["LOG_LEVEL"], seen["MORE"]) == ("debug", "1")


PROVISIONER_MAY = [
    ("karpenter.sh", "nodeclaims", "get list watch create patch delete"),
    ("karpenter.sh", "nodeclaims/status", "patch"),
    ("karpenter.sh", "nodeclaims/finalizers", "update"),
    ("karpenter.sh", "nodepools", "get list watch patch"),
    ("karpenter.sh", "nodepools/status", "patch"),
    ("karpenter.sh", "nodepools/finalizers", "update"),
    ("", "nodes", "get list watch patch delete"),
    ("", "pods", "list watch delete"),
    ("", "pods/eviction", "create"),
    ("", "events", "create patch"),
    ("", "persistentvolumeclaims", "get"),
    ("storage.k8s.io", "volumeattachments", "list watch"),
]
PROVISIONER_MAY_NOT = [
    ("karpenter.sh", "nodepools", "create delete"),
    ("", "secrets", "get list watch create update patch delete"),
    ("", "nodes", "create"),
    ("", "nodes/status", "patch"),
    ("", "pods", "create patch"),
    ("", "configmaps", "get list"),
    ("apps", "statefulsets", "get list watch create"),
    ("kaito.sh", "workspaces", "get patch"),
]


def test_provisioner_may_do_its_work_and_no_more() -> None:
    role = bound_role(render("gpu-provisioner", LOCAL))
    assert_rights(role, PROVISIONER_MAY, PROVISIONER_MAY_NOT)


def test_only_simulated_nodes_are_created_by_the_provisioner() -> None:
    role = bound_role(render("gpu-provisioner", {"cloudProviderName": "kwok"}))
    assert allows(role, "", "nodes", "create")
    assert allows(role, "", "nodes/status", "patch")


def test_every_option_of_the_provisioner_at_once() -> None:
    objects = render("gpu-provisioner", file=CHARTS / "gpu-provisioner/ci/everything-values.yaml")
    pod = only(objects, "Deployment")["spec"]["template"]
    assert pod["spec"]["serviceAccountName"] == "given"
    assert not [item for item in objects if item["kind"] == "ServiceAccount"]
    assert pod["spec"]["terminationGracePeriodSeconds"] == 45
    assert pod["spec"]["hostNetwork"] is True
    assert pod["metadata"]["annotations"] == {"note": "1"}
    assert {"name": "extra", "mountPath": "/extra"} in container(objects)["volumeMounts"]
    assert allows(bound_role(objects), "karpenter.k8s.aws", "ec2nodeclasses", "watch")
    (endpoint,) = only(objects, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint == {
        **{"port": "http-metrics", "path": "/metrics", "honorLabels": True},
        "interval": "15s",
    }
    assert only(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == "50%"


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({}, "ClusterFirst"),
        ({"hostNetwork": True}, "ClusterFirstWithHostNet"),
        ({"hostNetwork": True, "dnsPolicy": "Default"}, "Default"),
        ({"hostNetwork": True, "dnsPolicy": "None"}, "None"),
        ({"dnsPolicy": ""}, None),
    ],
)
def test_the_clusters_dns_is_asked_on_the_hosts_network_too(
    values: Object, policy: str | None
) -> None:
    """There, ClusterFirst is the node's resolver."""
    pod = only(render("gpu-provisioner", {**LOCAL, **values}), "Deployment")["spec"]["template"]
    assert pod["spec"].get("dnsPolicy") == policy


def test_the_program_reads_what_the_chart_writes() -> None:
    values = {
        **LOCAL,
        "replicas": 1,
        "controller": {"metrics": {"port": 9090}, "leaderElect": False, "logLevel": "debug"},
    }
    told = settings.from_environment(environment(render("gpu-provisioner", values)))
    assert (told.cloud, told.metrics_port, told.leader_election) == ("local", 9090, False)
    assert told.log_level == "DEBUG"
    assert told.cloud_settings["LOCAL_MACHINES_URL"] == LOCAL["localMachines"]["url"]


def test_the_role_allows_the_lease_that_the_program_takes() -> None:
    objects = render("gpu-provisioner", LOCAL)
    lease = settings.from_environment(environment(objects)).lease_name
    assert allows(only(objects, "Role"), "coordination.k8s.io", "leases", "patch", lease)
