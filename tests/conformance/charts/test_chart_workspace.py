"""The chart of the workspace controller."""

from __future__ import annotations

import pytest

from tests.conformance.charts.rendering import (
    CHARTS,
    WEBHOOKS,
    Object,
    allows,
    assert_rights,
    container,
    environment,
    only,
    pod_ports,
    render,
)
from workspace_controller import settings, webhooks


def test_workspace_controller_gets_its_settings() -> None:
    values = {"cloudProviderName": "local", "presetRegistryName": "r.example", "replicaCount": 2}
    objects = render("workspace", values)
    assert environment(objects) == {
        "CLOUD_PROVIDER": "local",
        "NODE_PROVISIONER": "nodeclaim",
        "PRESET_REGISTRY_NAME": "r.example",
        "SERVING_IMAGE_TAG": "0.1.0",
        "FEATURE_GATES": "disableNodeAutoProvisioning=false,vLLM=true",
        "WEBHOOK_SERVICE": "workspace",
        "WEBHOOK_PORT": "9443",
        "WEBHOOK_CERT_SECRET": "workspace-webhook-cert",
        "METRICS_PORT": "8080",
        "HEALTH_PROBE_PORT": "8081",
        "LEADER_ELECT": "true",
        "LOG_LEVEL": "info",
        "POD_NAMESPACE": "(from the pod)",
        "POD_NAME": "(from the pod)",
    }
    assert container(objects)["command"] == ["workspace-controller"]
    assert only(objects, "Deployment")["spec"]["replicas"] == 2


WORKSPACE_MAY = [
    ("kaito.sh", "workspaces", "get list watch patch"),
    ("kaito.sh", "workspaces/status", "patch"),
    ("kaito.sh", "workspaces/finalizers", "update"),
    ("karpenter.sh", "nodeclaims", "get list watch create delete"),
    ("", "nodes", "get list watch"),
    ("apps", "statefulsets", "get list watch create patch"),
    ("", "services", "get list watch create patch"),
    ("", "pods", "get list watch"),
    ("", "configmaps", "get list watch"),
    ("", "events", "create patch"),
]
WORKSPACE_MAY_NOT = [
    ("kaito.sh", "workspaces", "create delete"),
    ("karpenter.sh", "nodeclaims/status", "patch update"),
    ("", "nodes", "create patch delete"),
    ("apps", "statefulsets", "delete"),
    ("", "pods", "create patch delete"),
    ("", "secrets", "get list watch create update patch delete"),
    ("", "configmaps", "create patch delete"),
]


def test_workspace_controller_may_do_its_work_and_no_more() -> None:
    role = only(render("workspace"), "ClusterRole")
    assert_rights(role, WORKSPACE_MAY, WORKSPACE_MAY_NOT)


def test_who_brings_the_nodes_asks_for_no_claims() -> None:
    role = only(render("workspace", {"nodeProvisioner": "byo"}), "ClusterRole")
    assert not allows(role, "karpenter.sh", "nodeclaims", "create")


def test_the_controller_touches_its_own_secret_and_webhooks_alone() -> None:
    objects = render("workspace", release="other")
    own = environment(objects)["WEBHOOK_CERT_SECRET"]
    role, cluster_role = only(objects, "Role"), only(objects, "ClusterRole")
    assert allows(role, "", "secrets", "patch", own)
    assert not allows(role, "", "secrets", "patch", "another")
    for kind, name in WEBHOOKS.items():
        resource = f"{kind.lower()}s"
        assert allows(cluster_role, "admissionregistration.k8s.io", resource, "patch", name)
        assert not allows(cluster_role, "admissionregistration.k8s.io", resource, "patch", "other")


@pytest.mark.parametrize("kind", WEBHOOKS)
def test_webhooks_reach_the_controller(kind: str) -> None:
    objects = render("workspace", {"webhook": {"port": 8443}}, release="other")
    service = only(objects, "Service")
    (webhook,) = only(objects, kind)["webhooks"]
    assert webhook["name"] == only(objects, kind)["metadata"]["name"] == WEBHOOKS[kind]
    target = webhook["clientConfig"]["service"]
    assert (target["name"], target["namespace"]) == (service["metadata"]["name"], "kaito-system")
    assert target["port"] in [port["port"] for port in service["spec"]["ports"]]
    assert pod_ports(objects)["https-webhook"] == 8443
    assert webhook["rules"] == [
        {
            "apiGroups": ["kaito.sh"],
            "apiVersions": ["v1alpha1", "v1beta1"],
            "resources": ["workspaces"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
    ]


@pytest.mark.parametrize("kind", WEBHOOKS)
def test_an_upgrade_leaves_the_controllers_ca_alone(kind: str) -> None:
    (webhook,) = only(render("workspace"), kind)["webhooks"]
    assert "caBundle" not in webhook["clientConfig"]


def test_a_given_certificate_is_mounted_and_trusted() -> None:
    objects = render("workspace", {"webhook": {"certSecretName": "mine", "caBundle": "Q0E="}})
    (mount,) = (
        mount for mount in container(objects)["volumeMounts"] if mount["name"] == "webhook-cert"
    )
    assert mount["mountPath"] == environment(objects)["WEBHOOK_CERT_DIR"]
    for kind in WEBHOOKS:
        assert only(objects, kind)["webhooks"][0]["clientConfig"]["caBundle"] == "Q0E="
    assert not allows(only(objects, "Role"), "", "secrets", "create")


@pytest.mark.parametrize(
    ("values", "rendered"),
    [
        pytest.param({"cloudProviderName": "azure"}, True, id="azure"),
        pytest.param({"cloudProviderName": "aws"}, True, id="aws"),
        pytest.param({"cloudProviderName": "local"}, False, id="local-nodes-bring-their-own"),
        pytest.param({"nvidiaDevicePlugin": {"enabled": False}}, False, id="gpu-operator"),
    ],
)
def test_device_plugin_where_the_cloud_has_none(values: Object, rendered: bool) -> None:
    kinds = [item["kind"] for item in render("workspace", values)]
    assert ("DaemonSet" in kinds) is rendered


def test_names_of_single_objects_can_be_chosen() -> None:
    objects = render("workspace", file=CHARTS / "workspace/ci/everything-values.yaml")
    assert {(item["kind"], item["metadata"]["name"]) for item in objects} >= {
        ("Deployment", "kaito-deployment"),
        ("Service", "kaito-service"),
        ("ClusterRole", "kaito-cluster-role"),
        ("ClusterRoleBinding", "kaito-cluster-role-binding"),
        ("Role", "kaito-role"),
        ("RoleBinding", "kaito-role-binding"),
    }


def test_the_program_reads_what_the_chart_writes() -> None:
    values = {
        "cloudProviderName": "aws",
        "nodeProvisioner": "byo",
        "featureGates": {"vLLM": False},
        "webhook": {"port": 8443},
        "leaderElect": False,
    }
    told = settings.process(environment(render("workspace", values, release="other")))
    assert (told.cloud, told.provisioner, told.gates["vLLM"]) == ("aws", "byo", False)
    assert (told.webhook_port, told.webhook_service) == (8443, "other-workspace")
    assert (told.webhook_cert_secret, told.leader_elect) == ("other-workspace-webhook-cert", False)


def test_webhooks_have_the_names_and_paths_that_the_program_serves() -> None:
    objects = render("workspace")
    for kind, name in (
        ("ValidatingWebhookConfiguration", webhooks.VALIDATING),
        ("MutatingWebhookConfiguration", webhooks.MUTATING),
    ):
        assert only(objects, kind)["metadata"]["name"] == name
        verb = kind.removesuffix("WebhookConfiguration")
        (webhook,) = only(objects, kind)["webhooks"]
        path = {"Validating": "/validate/", "Mutating": "/default/"}[verb]
        assert webhook["clientConfig"]["service"]["path"] == f"{path}workspace.kaito.sh"
