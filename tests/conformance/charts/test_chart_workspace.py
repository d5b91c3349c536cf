"""The chart of the workspace controller."""

from __future__ import annotations

import pytest
import yaml

from apis import container as contract
from tests.conformance.charts.rendering import (
    CHARTS,
    WEBHOOK_NAMES,
    Object,
    allows,
    assert_rights,
    bound_role,
    container,
    environment,
    only,
    pod_ports,
    refusal,
    render,
)
from workspace_controller import settings, webhooks
from workspace_controller.ragengine import references


def test_workspace_controller_gets_its_settings() -> None:
    values = {"cloudProviderName": "local", "presetRegistryName": "r.example", "replicaCount": 3}
    objects = render("workspace", values)
    assert environment(objects) == {
        "CLOUD_PROVIDER": "local",
        "NODE_PROVISIONER": "nodeclaim",
        "PRESET_REGISTRY_NAME": "r.example",
        "SERVING_IMAGE_TAG": "0.1.0",
        "WEIGHTS_CACHE": "node",
        "WEIGHTS_CACHE_PATH": "/var/lib/kaito/weights",
        "IMAGE_VOLUMES": "auto",
        "FEATURE_GATES": "disableNodeAutoProvisioning=false,enableRAGEngine=true,vLLM=true",
        "ESTIMATOR": "fit",
        "BENCHMARK": "true",
        "POD_LOGS": "true",
        "WEBHOOK_SERVICE": "workspace",
        "WEBHOOK_PORT": "9443",
        "WEBHOOK_CERT_SECRET": "workspace-webhook-cert",
        "METRICS_PORT": "8080",
        "HEALTH_PROBE_PORT": "8081",
        "DEBUG_PORT": "8082",
        "LEADER_ELECT": "true",
        "LEADER_ELECTION_NAME": "workspace-leader-election",
        "LOG_LEVEL": "info",
        "POD_NAMESPACE": "(from the pod)",
        "POD_NAME": "(from the pod)",
    }
    assert container(objects)["command"] == ["workspace-controller"]
    assert only(objects, "Deployment")["spec"]["replicas"] == 3


def test_registries_without_tls_are_named() -> None:
    told = environment(render("workspace", {"insecureRegistries": "plain.example:5000, other"}))
    assert settings.process(told).insecure_registries == "plain.example:5000,other"


@pytest.mark.parametrize(
    ("values", "default"),
    [
        pytest.param({}, "Standard_NC24ads_A100_v4", id="nodes are created"),
        pytest.param({"nodeProvisioner": "byo"}, None, id="byo"),
        pytest.param(
            {"featureGates": {"disableNodeAutoProvisioning": True}}, None, id="upstream's gate"
        ),
    ],
)
def test_v1alpha1_asks_for_a_type_of_nodes_where_nodes_are_created(
    values: Object, default: str | None
) -> None:
    objects = render("workspace", values)
    for name, path in (
        ("workspaces.kaito.sh", ["resource"]),
        ("ragengines.kaito.sh", ["spec", "compute"]),
    ):
        crd = only(objects, "CustomResourceDefinition", name)
        old = next(each for each in crd["spec"]["versions"] if each["name"] == "v1alpha1")
        schema = old["schema"]["openAPIV3Schema"]
        for step in (*path, "instanceType"):
            schema = schema["properties"][step]
        assert schema.get("default") == default


RAG_ENGINES_MAY = [
    ("kaito.sh", "ragengines", "list watch patch"),
    ("kaito.sh", "ragengines/status", "patch"),
    ("kaito.sh", "ragengines/finalizers", "update"),
    ("apps", "deployments", "get list watch create patch"),
    ("", "configmaps", "create patch"),
    ("", "persistentvolumeclaims", "list watch"),
]
WORKSPACE_MAY = [
    ("kaito.sh", "workspaces", "list watch patch"),
    ("kaito.sh", "workspaces/status", "patch"),
    ("kaito.sh", "workspaces/finalizers", "update"),
    ("karpenter.sh", "nodeclaims", "list watch create delete"),
    ("", "nodes", "list watch"),
    ("apps", "statefulsets", "get list watch create patch delete"),
    ("", "services", "get list watch create patch"),
    ("", "pods", "list watch create patch delete"),
    ("", "pods/log", "get"),
    ("batch", "jobs", "get list watch create delete"),
    ("apps", "controllerrevisions", "list watch create patch delete"),
    ("", "configmaps", "get list watch"),
    ("storage.k8s.io", "csidrivers", "get"),
    ("", "namespaces", "list watch"),
    ("", "events", "create patch"),
    ("", "secrets", "create get"),
    *RAG_ENGINES_MAY,
]
WORKSPACE_MAY_NOT = [
    ("kaito.sh", "workspaces", "create delete"),
    ("karpenter.sh", "nodeclaims/status", "patch update"),
    ("", "nodes", "create patch delete"),
    ("", "services", "delete"),
    ("", "pods", "update deletecollection"),
    ("", "pods/exec", "create"),
    ("batch", "jobs", "update patch deletecollection"),
    ("", "secrets", "list watch update patch delete"),
    ("", "configmaps", "update delete"),
    ("kaito.sh", "ragengines", "create delete"),
    ("apps", "deployments", "update delete deletecollection"),
    ("", "persistentvolumeclaims", "create update patch delete"),
]


def test_workspace_controller_may_do_its_work_and_no_more() -> None:
    role = bound_role(render("workspace"))
    assert_rights(role, WORKSPACE_MAY, WORKSPACE_MAY_NOT)


def test_without_rag_engines_nothing_is_asked_for_them() -> None:
    objects = render("workspace", {"featureGates": {"enableRAGEngine": False}})
    role = bound_role(objects)
    assert_rights(role, [], RAG_ENGINES_MAY)
    assert settings.process(environment(objects)).gates["enableRAGEngine"] is False
    assert "ConfigMap" not in {each["kind"] for each in objects}


def test_the_default_guardrails_are_a_policy_that_can_look_at_streams() -> None:
    """KAITO's has a regex, so that it refuses every stream."""
    template = only(render("workspace"), "ConfigMap", references.POLICY_TEMPLATE)
    policy = yaml.safe_load(template["data"][contract.RAG_GUARDRAILS_KEY])
    assert policy["action"] == "redact"
    kinds = {each["type"] for each in policy["scanners"]}
    assert kinds <= {"secrets", "sensitive", "invisible_text", "ban_substrings"}
    block = {"guardrailsPolicy": {"action": "block"}}
    changed = only(render("workspace", block), "ConfigMap", references.POLICY_TEMPLATE)
    assert yaml.safe_load(changed["data"]["guardrails.yaml"])["action"] == "block"


def test_who_reads_no_logs_may_read_none() -> None:
    objects = render("workspace", {"podLogs": {"enabled": False}})
    assert not allows(bound_role(objects), "", "pods/log", "get")
    assert settings.process(environment(objects)).pod_logs is False


def test_who_brings_the_nodes_asks_for_no_claims() -> None:
    role = bound_role(render("workspace", {"nodeProvisioner": "byo"}))
    assert not allows(role, "karpenter.sh", "nodeclaims", "create")


POOLS = {"nodeProvisioner": "karpenter", "cloudProviderName": "azure"}


def test_only_with_pools_may_the_controller_touch_pools_and_node_classes() -> None:
    role = bound_role(render("workspace", POOLS))
    more = [
        ("karpenter.sh", "nodepools", "list watch create patch delete"),
        ("karpenter.azure.com", "aksnodeclasses", "list watch create"),
    ]
    never = [("karpenter.azure.com", "aksnodeclasses", "update patch delete")]
    assert_rights(role, more, never)
    for values in ({}, {**POOLS, "featureGates": {"disableNodeAutoProvisioning": True}}):
        assert_rights(bound_role(render("workspace", values)), [], more)


def test_who_says_byo_by_the_gate_asks_for_no_claims_either() -> None:
    gate = {"featureGates": {"disableNodeAutoProvisioning": True}}
    objects = render("workspace", {**gate, "nodeProvisioner": "karpenter"})
    assert not allows(bound_role(objects), "karpenter.sh", "nodeclaims", "list")
    assert settings.process(environment(objects)).provisioner == "byo"


def test_kaitos_node_classes_reach_the_program() -> None:
    classes = settings.process(environment(render("workspace", POOLS))).node_classes
    assert classes is not None
    assert classes.names == ("image-family-ubuntu", "image-family-azure-linux")
    assert (classes.default.name, classes.default.disk_gib) == ("image-family-ubuntu", 300)
    assert classes.resource.path() == "/apis/karpenter.azure.com/v1beta1/aksnodeclasses"


def test_node_classes_of_ones_own_reach_the_program() -> None:
    objects = render("workspace", file=CHARTS / "workspace/ci/karpenter-values.yaml")
    classes = settings.process(environment(objects)).node_classes
    assert classes is not None
    assert (classes.kind, classes.names) == ("EC2NodeClass", ("gpu",))
    assert classes.default.disk_gib == 500
    assert classes.default.spec["role"] == "KarpenterNodeRole-cluster"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"karpenterProvider": "moon"}, "moon", id="no-such-provider"),
        pytest.param({"karpenterProvider": "aws"}, "aws.nodeClasses needs", id="no-class"),
        pytest.param(
            {"karpenterProviders": {"azure": {"nodeClasses": [{"name": "Ubuntu"}]}}},
            "name",
            id="no-subdomain",
        ),
        pytest.param(
            {"karpenterProviders": {"azure": {"nodeclasses": []}}}, "nodeclasses", id="misspelt"
        ),
    ],
)
def test_wrong_node_classes_are_refused(values: Object, words: str) -> None:
    assert words in refusal("workspace", {**POOLS, **values})


def test_the_controller_touches_its_own_secret_and_webhooks_alone() -> None:
    objects = render("workspace", release="other")
    own = environment(objects)["WEBHOOK_CERT_SECRET"]
    role, cluster_role = only(objects, "Role"), bound_role(objects)
    assert allows(role, "", "secrets", "patch", own)
    assert not allows(role, "", "secrets", "patch", "another")
    for kind, name in WEBHOOK_NAMES:
        resource = f"{kind.lower()}s"
        assert allows(cluster_role, "admissionregistration.k8s.io", resource, "patch", name)
        assert not allows(cluster_role, "admissionregistration.k8s.io", resource, "patch", "other")


@pytest.mark.parametrize(("kind", "name"), WEBHOOK_NAMES)
def test_webhooks_reach_the_controller(kind: str, name: str) -> None:
    objects = render("workspace", {"webhook": {"port": 8443}}, release="other")
    service = only(objects, "Service")
    (webhook,) = only(objects, kind, name)["webhooks"]
    assert webhook["name"] == name
    target = webhook["clientConfig"]["service"]
    assert (target["name"], target["namespace"]) == (service["metadata"]["name"], "kaito-system")
    assert target["port"] in [port["port"] for port in service["spec"]["ports"]]
    assert pod_ports(objects)["https-webhook"] == 8443
    assert webhook["rules"] == [
        {
            "apiGroups": ["kaito.sh"],
            "apiVersions": ["v1alpha1", "v1beta1"],
            "resources": [f"{name.split('.')[1]}s"],
            "operations": ["CREATE", "UPDATE"],
            "scope": "Namespaced",
        }
    ]


@pytest.mark.parametrize(("kind", "name"), WEBHOOK_NAMES)
def test_an_upgrade_leaves_the_controllers_ca_alone(kind: str, name: str) -> None:
    (webhook,) = only(render("workspace"), kind, name)["webhooks"]
    assert "caBundle" not in webhook["clientConfig"]


def test_a_given_certificate_is_mounted_and_trusted() -> None:
    objects = render("workspace", {"webhook": {"certSecretName": "mine", "caBundle": "Q0E="}})
    (mount,) = (
        mount for mount in container(objects)["volumeMounts"] if mount["name"] == "webhook-cert"
    )
    assert mount["mountPath"] == environment(objects)["WEBHOOK_CERT_DIR"]
    for kind, name in WEBHOOK_NAMES:
        assert only(objects, kind, name)["webhooks"][0]["clientConfig"]["caBundle"] == "Q0E="
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
        "replicaCount": 1,
    }
    told = settings.process(environment(render("workspace", values, release="other")))
    assert (told.cloud, told.provisioner, told.gates["vLLM"]) == ("aws", "byo", False)
    assert (told.webhook_port, told.webhook_service) == (8443, "other-workspace")
    assert (told.webhook_cert_secret, told.leader_elect) == ("other-workspace-webhook-cert", False)


def test_webhooks_have_the_names_and_paths_that_the_program_serves() -> None:
    objects = render("workspace")
    for kind, path, names in (
        ("ValidatingWebhookConfiguration", "/validate/", webhooks.VALIDATING),
        ("MutatingWebhookConfiguration", "/default/", webhooks.MUTATING),
    ):
        assert {item["metadata"]["name"] for item in objects if item["kind"] == kind} == {*names}
        for what, name in zip(webhooks.KINDS, names, strict=True):
            (webhook,) = only(objects, kind, name)["webhooks"]
            assert webhook["clientConfig"]["service"]["path"] == f"{path}{what}.kaito.sh"
